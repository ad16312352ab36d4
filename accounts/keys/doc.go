// Package keys keeps the atproto signing keys of accounts.
//
// Each account has a key pair whose public half stands in its DID document and
// whose private half signs its repository and its service-auth tokens. [Store] is
// the interface behind which the private halves live; [Sealed] keeps them encrypted
// in the accounts' own records.
package keys
