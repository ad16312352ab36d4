package accounts

import "github.com/gatehouse-at/gatehouse/internal/typed"

// NormalizeIdentifier returns the handle, DID or e-mail address that is meant by what people type
// and paste, in the spelling in which accounts are found:
//
//   - Invisible characters (zero width spaces, bidirectional marks, soft hyphens and the like) and
//     spaces outside ASCII are removed wherever they are, and ordinary spaces at both ends. An
//     ordinary space inside stays: it is a mistake, and no account is found by it.
//   - Full-width forms become ordinary ones, and the ideographic full stop a dot.
//   - A leading "@" or "at://" is removed. A link to a profile (https://HOST/profile/ALICE, with or
//     without the scheme and with anything after it) and an at:// URI are replaced by the identifier
//     in them, and https://HOST by the host, since handles are shown as links.
//   - Trailing dots are removed.
//   - Letters become lower case, except in the method-specific part of a DID that isn't a did:plc,
//     where case matters.
//
// An e-mail address stays one. The result need not be a valid identifier. Normalizing it again
// changes nothing.
func NormalizeIdentifier(raw string) string { return typed.Identifier(raw) }

// normalIdentifier is NormalizeIdentifier with all letters in lower case, so that all spellings of
// an identifier share one budget.
func normalIdentifier(raw string) string { return typed.Lower(typed.Identifier(raw)) }
