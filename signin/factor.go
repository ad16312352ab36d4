package signin

import (
	"context"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/storage"
)

// Factor is a second factor: what an account that has it asks for beside a [Way]. Its methods are
// safe for concurrent use.
type Factor interface {
	// Name names the factor, such as "totp".
	Name() string
	// EnrolledTx reports whether an account has the factor. It is called for every attempt at an
	// account that exists, proved or not. Keep the answer where it is cheap to read, so that the
	// time of an attempt doesn't tell whether an account exists.
	EnrolledTx(tx storage.Tx, a *accounts.Account) (bool, error)
	// Challenge is called when an attempt came without a code. It may send one, and returns what the
	// client is told.
	Challenge(ctx context.Context, a *accounts.Account) (message string, err error)
	// RedeemTx uses up a code, in the transaction that uses what was proved. A code that is wrong is a
	// refusal: the transaction is committed with it, so that RedeemTx can count it. If an account has
	// several factors, each of them is tried in order, so a code for a later one counts as a wrong
	// code for those before it.
	RedeemTx(tx storage.Tx, a *accounts.Account, code string) (refusal, err error)
}

// MethodEmailCode is the name of [EmailCode].
const MethodEmailCode = "email-code"

// EmailCode returns the second factor of accounts whose EmailAuthFactor is set: a code that is
// mailed. A wrong code is an [codes.ErrInvalid], an old one an [codes.ErrExpired].
func EmailCode(a *accounts.Service) Factor { return emailCode{a} }

type emailCode struct{ accounts *accounts.Service }

func (emailCode) Name() string { return MethodEmailCode }

func (emailCode) EnrolledTx(_ storage.Tx, a *accounts.Account) (bool, error) {
	return a.EmailAuthFactor, nil
}

func (f emailCode) Challenge(ctx context.Context, a *accounts.Account) (string, error) {
	return "A sign in code has been sent to your email address", f.accounts.Emails().SendSignInCode(ctx, a)
}

func (f emailCode) RedeemTx(tx storage.Tx, a *accounts.Account, code string) (refusal, err error) {
	return f.accounts.Emails().RedeemSignInCodeTx(tx, a.DID, code)
}
