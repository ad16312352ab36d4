// Package audit records what admins and moderators did to which account, when, and with which
// outcome. Each action is recorded before it is taken, so that none goes unrecorded.
package audit
