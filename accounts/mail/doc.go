// Package mail makes the e-mails of account flows.
//
// [Mailer] is the interface behind which they leave; here is one for tests that keeps them in
// memory, and one for development that logs them. Package deliver has those that reach people. [Templates] makes the
// e-mails, each in text and HTML, and a program that embeds
// Gatehouse can replace any of them. Codes stand in the bodies and not in the subjects, which show on
// locked screens.
package mail
