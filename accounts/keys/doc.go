// Package keys keeps the atproto signing keys of accounts.
//
// Each account has a key pair. The public key is in the account's DID document; the private key
// signs its repository and its service-auth tokens. [Store] is the interface behind which private
// keys are kept, and [Sealed] its default implementation, which keeps them encrypted in the records
// of the accounts.
package keys
