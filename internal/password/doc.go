// Package password hashes account passwords and checks them.
//
// New hashes are argon2id (RFC 9106) in the PHC string form,
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
//
// with salt and hash in base64 without padding. A hash is verified by the
// parameters in its own string, so they can be changed at any time: hashes made with
// others stay good, and are reported as due for replacement. The scrypt form of
// the reference PDS (salt:hash) is recognised too, so that its accounts can move here.
//
// Hashing is slow and hungry by intent, so a [Hasher] runs a few at once and makes the rest wait,
// in a line for each network address (that of the client in the context). The lines are served in
// turn, so that a storm of logins from one address hardly delays those from others, and only so
// many may wait.
//
// A wrong password takes as long as one for an account that doesn't exist, whatever form and costs
// the stored hash has: what its own is cheaper than the dearest in use is made up for. What is
// equal is the work of processors, see [Hasher.Work]; hashes with other Threads than the
// configuration's still take another time on a server with processors to spare.
package password
