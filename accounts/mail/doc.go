// Package mail makes and delivers the e-mails of account flows.
//
// [Mailer] is the interface behind which they leave; here are one for SMTP, one
// that writes .eml files into a directory, and one for tests that keeps them in
// memory. [Templates] makes them, each in text and HTML, and a program that embeds
// Gatehouse can replace any of them.
package mail
