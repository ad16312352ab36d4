// Package deliver has the mailers that deliver e-mails: [SMTP], and [Dir], which writes .eml files
// into a directory for development. They are apart from package mail so that a program with a
// mailer of its own doesn't pay for them.
//
// A server that is wrongly set up to send mail should find that out before its users do:
// [SMTP.Check] goes as far as one can without sending and says at which [Stage] it failed and
// what to change, and [Try] reports that step by step to an operator.
package deliver
