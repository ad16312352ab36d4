package mail

import "slices"

// Kind is what an e-mail is for. Its codes are good for nothing else.
type Kind string

// The kinds of e-mail with a code.
const (
	ResetPassword Kind = "reset_password"
	DeleteAccount Kind = "delete_account"
	ConfirmEmail  Kind = "confirm_email"
	UpdateEmail   Kind = "update_email"
	PLCOperation  Kind = "plc_operation"
	SignIn        Kind = "sign_in"
)

// Notice is a message of the server's administrators, without a code.
const Notice Kind = "notice"

// The notices: they tell the owner of an account what happened to it, and what to do if it wasn't
// the owner. They have no code and no link.
const (
	// PasswordChanged says that the account has a new password, by a reset or otherwise.
	PasswordChanged Kind = "password_changed"
	// EmailChanged says that the account has a new e-mail address. It goes to the old one and to
	// the new one.
	EmailChanged Kind = "email_changed"
	// FactorChanged says that signing in takes an e-mailed code from now on, or no longer does.
	FactorChanged Kind = "factor_changed"
	// AppPasswordCreated says that an app password was made.
	AppPasswordCreated Kind = "app_password_created"
	// AccountDeactivated says that the account was deactivated.
	AccountDeactivated Kind = "account_deactivated"
	// DeletionScheduled says that the account was deactivated and will be deleted, and how to call
	// it off.
	DeletionScheduled Kind = "deletion_scheduled"
	// DeletionReminder says the same again, shortly before.
	DeletionReminder Kind = "deletion_reminder"
	// PLCOperationSigned says that the server signed a PLC operation for the account.
	PLCOperationSigned Kind = "plc_operation_signed"
	// KeysChanged says that the account has other keys than before.
	KeysChanged Kind = "keys_changed"
)

var (
	codes   = []Kind{ResetPassword, DeleteAccount, ConfirmEmail, UpdateEmail, PLCOperation, SignIn}
	notices = []Kind{
		PasswordChanged, EmailChanged, FactorChanged, AppPasswordCreated, AccountDeactivated,
		DeletionScheduled, DeletionReminder, PLCOperationSigned, KeysChanged,
	}
)

// Kinds returns all kinds of e-mail that have templates.
func Kinds() []Kind { return slices.Concat(codes, []Kind{Notice}, notices) }

// Notices returns the kinds that tell an owner what happened to the account, which an operator may
// do without. [Notice], which an administrator writes, is none of them.
func Notices() []Kind { return slices.Clone(notices) }

// HasCode reports whether the e-mails of a kind carry a code.
func (k Kind) HasCode() bool { return slices.Contains(codes, k) }
