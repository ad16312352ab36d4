// Package mail makes the e-mails of account flows.
//
// [Mailer] is the interface behind which they leave; here is one for tests that keeps them in
// memory, and one for development that logs them. Package deliver has those that reach people.
// [Queue] stands before a mailer, so that a slow one holds up nobody for long. [Templates] makes
// the e-mails, each in text and HTML, and a program that embeds Gatehouse can replace any of them.
//
// Some e-mails carry a code ([Kind.HasCode]); it stands in the bodies and not in the subject, which
// shows on locked screens. [Notices] tell the owner of an account what happened to it. They have
// neither a code nor a link: whoever gets one that looks strange has nothing to click on.
package mail
