// Package deliver has the mailers that deliver e-mails: [SMTP], and [Dir], which writes .eml files
// into a directory for development. They are apart from package mail so that a program with a
// mailer of its own doesn't depend on what they import.
//
// An operator should find a mistake in the configuration before users wait for a code. [SMTP.Check]
// does everything except sending, and says at which stage it failed and what to change. [Try]
// reports that step by step.
package deliver
