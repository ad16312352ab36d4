// Sends the form of the page: the answer to a client that asked for it as a form.
document.getElementById("answer").submit();
