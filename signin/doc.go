// Package signin is the door to an account: it finds out who somebody is, and opens sessions.
//
// A [Way] is one way of proving who one is, such as the account password ([Password]), an app
// password ([AppPassword]), or one of the embedding program's own. A [Factor] is what an account
// asks for beside that, such as a mailed code ([EmailCode]). [Service.Prove] tries the ways of the
// server with an [Attempt] and returns a [Pass], and [Pass.Use] uses the pass in one transaction,
// which checks that everything that was proved is still so. [Service.SignIn] does both and opens a
// session.
//
// Every attempt is a guess at a secret. Guesses are charged to a budget by account and address
// before anybody is told whether they were right.
package signin
