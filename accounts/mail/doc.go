// Package mail makes and delivers the e-mails of account flows.
//
// [Mailer] is the interface behind which they leave; here are one for SMTP, one
// that writes .eml files into a directory, and one for tests that keeps them in
// memory. [Templates] makes them, each in text and HTML, and a program that embeds
// Gatehouse can replace any of them. Codes stand in the bodies and not in the subjects, which show on
// locked screens.
//
// A server that is wrongly set up to send mail should find that out before its users do:
// [SMTP.Check] goes as far as one can without sending and says at which [Stage] it failed and
// what to change, and [Try] reports that step by step to an operator.
package mail
