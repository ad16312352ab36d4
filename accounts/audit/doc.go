// Package audit keeps a log of what admins and moderators did: who, what, to whom, when, and
// what came of it. An action is logged before it is taken, so that none goes unnoticed.
package audit
