package mail

import "slices"

// Kind is the purpose of an e-mail. A code is valid only for the purpose of the e-mail that
// contained it.
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

// Notice is a message from the administrators of the server. It has no code.
const Notice Kind = "notice"

// The notices, which tell the owner of an account what happened to it, and what to do if it wasn't
// the owner who did it. They have no code and no link.
const (
	// PasswordChanged says that the account has a new password, after a reset or otherwise.
	PasswordChanged Kind = "password_changed"
	// EmailChanged says that the account has a new e-mail address. It goes to the old one and to
	// the new one.
	EmailChanged Kind = "email_changed"
	// FactorChanged says that signing in requires an e-mailed code from now on, or no longer does.
	FactorChanged Kind = "factor_changed"
	// AppPasswordCreated says that an app password was created.
	AppPasswordCreated Kind = "app_password_created"
	// AccountDeactivated says that the account was deactivated.
	AccountDeactivated Kind = "account_deactivated"
	// DeletionScheduled says that the account was deactivated and will be deleted, and how to call
	// it off.
	DeletionScheduled Kind = "deletion_scheduled"
	// DeletionReminder says the same again, shortly before the deletion.
	DeletionReminder Kind = "deletion_reminder"
	// PLCOperationSigned says that the server signed a PLC operation for the account.
	PLCOperationSigned Kind = "plc_operation_signed"
	// KeysChanged says that the keys of the account were changed.
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
// switch off. [Notice], which an administrator writes, is not one of them.
func Notices() []Kind { return slices.Clone(notices) }

// HasCode reports whether e-mails of the kind contain a code.
func (k Kind) HasCode() bool { return slices.Contains(codes, k) }
