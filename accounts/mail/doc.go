// Package mail makes and sends the e-mails of account flows.
//
// [Mailer] is the interface for deliveries. This package has one for tests, which keeps messages in
// memory, and one for development, which logs them; package deliver has those that reach people. A
// [Queue] stands in front of a mailer, so that nobody has to wait long for a slow one. [Templates]
// make the messages, each in text and HTML, and a program that embeds Gatehouse can replace any of
// them.
//
// Some e-mails contain a code ([Kind.HasCode]). It is in the bodies and not in the subject, which
// locked screens show. [Notices] tell the owner of an account what happened to it. They contain
// neither a code nor a link, so that a forged one is easy to tell and there is nothing to click on.
package mail
