// Package password hashes and verifies account passwords.
//
// New hashes are argon2id (RFC 9106) in the PHC string form,
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
//
// with the salt and the hash in base64 without padding. A hash is verified with the parameters in
// its own string, so that the parameters can be changed at any time: hashes with other parameters
// stay valid, and are reported as due for replacement. The scrypt form of the reference PDS
// (salt:hash) is accepted too, so that its accounts can move here.
//
// Hashing is slow and takes much memory by design. Therefore a [Hasher] computes only a few hashes
// at a time and lets a bounded number of callers wait, in one line for each network address (that
// of the client in the context). The lines are served in turn, so that many logins from one address
// hardly delay those from others. The last processor hashes only while the server does nothing else:
// all processors hashing, a request that takes microseconds would wait for one for tens of
// milliseconds.
//
// Each hash allocates its memory and leaves it to the garbage collector: x/crypto has no way to reuse
// it (https://go.dev/issue/36634).
//
// Verifying a wrong password takes as long as a login to an account that doesn't exist, whatever
// form and parameters the stored hash has: if it costs less than the most expensive hash in use,
// the difference is computed as well. What is made equal is the processor time, see [Hasher.Work].
// Hashes whose Threads differ from the configuration still take a different time on a server with
// idle processors.
package password
