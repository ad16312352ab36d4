package gatehouse

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/accounts"
	"github.com/gatehouse-at/gatehouse/accounts/did"
	"github.com/gatehouse-at/gatehouse/accounts/handle"
	"github.com/gatehouse-at/gatehouse/accounts/keys"
	"github.com/gatehouse-at/gatehouse/accounts/mail"
	"github.com/gatehouse-at/gatehouse/accounts/ratelimit"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// DIDMethod says how accounts get their DID.
type DIDMethod string

// The methods of DIDs.
const (
	// DIDPLC registers a did:plc in a directory.
	DIDPLC DIDMethod = "plc"
	// DIDWeb makes a did:web of the handle, whose document this server serves. Whoever takes the handle
	// of a deleted account then has its DID.
	DIDWeb DIDMethod = "web"
)

// Config configures a [Server]. Hostname and HandleDomains are required; everything else has a
// default.
type Config struct {
	// Hostname is the server's host name, such as "pds.example.com", with a port only if it is a local
	// name. The server's DID is did:web:HOSTNAME. Host names here and below are normalized at start:
	// lower case, no trailing dot, internationalized names in ASCII (xn--), no default port (80 or
	// 443).
	Hostname string
	// HandleDomains are the domains under which accounts may take handles, such as ".example.com".
	HandleDomains []string
	// PublicURL is the URL of this server in DID documents, of the form https://HOST; a trailing slash
	// is dropped. Default: https://HOSTNAME, or http://HOSTNAME if that is a local host name (loopback,
	// .test, .localhost, .example) whose port isn't 443.
	PublicURL string
	// ExtraHostnames are further host names of the server, without ports, beside Hostname and the host
	// of PublicURL. Every other name on HandleDomains belongs to an account, and serves only what leads
	// to that account: see [Server.HandleHosts]. No account can have one of the server's own names as
	// its handle.
	ExtraHostnames []string
	// ServiceName is the name of the server in e-mails and on its home page. Default: Hostname.
	ServiceName string

	// Admins decides who is an admin, such as xrpc.Passwords{"admin": "…"}, whose passwords have 12
	// characters or more. Default: admin methods refuse everybody.
	Admins xrpc.AdminAuth
	// ModService is the DID of a moderation service (such as an Ozone) that may call what moderators
	// need, with service auth. Optional.
	ModService string

	SignUp    SignUp
	SignIn    SignIn
	Handles   Handles
	DIDs      DIDs
	Keys      Keys
	Passwords Passwords
	Mail      Mail
	Limits    Limits

	// MinDeletionDelay is the least time between a deactivation and the deletion that the owner asks
	// for with it (deleteAfter of com.atproto.server.deactivateAccount). Default 72 hours.
	MinDeletionDelay time.Duration
	// EmailForAppPasswords shows the e-mail address to sessions of app passwords.
	EmailForAppPasswords bool

	Description Description

	// RepoStatus returns the state of an account's repository, for checkAccountStatus and for
	// com.atproto.sync.listRepos and getRepoStatus. Default: there are no repositories. listRepos calls
	// it for each account of a page, so a program with many repositories had better serve that method
	// itself: see LeaveToFallback.
	RepoStatus xrpc.RepoStatusFunc
	// Hooks take part in what happens to an account, inside its transaction: see [accounts.Hook]. They
	// run in order, after what follows from the change in Gatehouse itself, and from the start of the
	// Server on, so the collections that they write have to be defined before.
	Hooks []accounts.Hook
	// Fallback serves the methods below /xrpc/ that Gatehouse doesn't have, such as those of
	// repositories. Without one they are answered 501 MethodNotImplemented. examples/proxy has one that
	// proxies them to the service that the client names, as the network's PDSs do. See [xrpc.Config]
	// for what a Fallback has to know.
	Fallback http.Handler
	// LeaveToFallback are the NSIDs of methods of Gatehouse's (see [xrpc.Methods]) that Fallback serves
	// instead, such as com.atproto.sync.listRepos if it has the repositories. Gatehouse neither
	// authorizes nor limits calls of these.
	LeaveToFallback []string

	// NoMaintenance leaves the background work to the program, which calls [Server.Maintain]
	// periodically, by a scheduler of its own or from a test. Default: the Server calls it once a
	// minute, in one of the processes on a store at a time.
	NoMaintenance bool

	// Logger receives request lines and what operators should know. Default [slog.Default].
	Logger *slog.Logger
	// Now returns the time. Default [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default [rand.Reader].
	Rand io.Reader
}

// SignIn configures how people may prove who they are.
type SignIn struct {
	// Ways are ways beside app passwords and account passwords, such as an LDAP directory. They are
	// tried in this order, after app passwords and before account passwords.
	Ways []signin.Way
	// Factors are second factors that accounts may have beside mailed codes. They are tried in this
	// order, before mailed codes.
	Factors []signin.Factor
	// NoAccountPasswords forbids account passwords, where Ways take their place: none is accepted at
	// sign-in or for the deletion of an account, and none can be set or reset. Accounts can still have
	// app passwords.
	NoAccountPasswords bool
}

// SignUp configures who may sign up.
type SignUp struct {
	// Mode says who may: everybody ([SignUpOpen], the default), people with an invite code
	// ([SignUpInvites]), accounts that move here from another server ([SignUpMigrations]), or nobody
	// ([SignUpClosed]).
	Mode SignUpMode
	// Check is a gate of your own before sign-up, such as a captcha, a payment or a list of names. It
	// is called after all other checks, outside of transactions and before the password is hashed;
	// [ratelimit.FromContext] has the client's address (an IPv6 address as its /64). If it returns an
	// error there is no account, and nothing of the attempt is kept. The client is answered by the kind
	// of error: one with a method PublicMessage() string is a 400 with that message, an [xrpc.Error] is
	// sent as it is, [accounts.ErrSignUpClosed] is answered as in the mode closed, a context that has
	// ended is a 503, and any other error is a 500 without detail. Optional.
	Check func(context.Context, accounts.Applicant) error
	// VerificationRequired sets phoneVerificationRequired in the answer of describeServer. Apps that
	// support it then open /gate/signup of this server, a page that you have to serve, and send the
	// code that it returns as verificationCode. Only Check looks at that code.
	VerificationRequired bool
	// InviteInterval is the time in which an account earns an invite code in the mode invites. Default:
	// accounts earn none.
	InviteInterval time.Duration
	// InviteEpoch is when earning begins for accounts that are older.
	InviteEpoch time.Time
}

// Handles configures which handles accounts may have.
type Handles struct {
	// Policy decides which words may be in handles. Default [handle.DefaultPolicy], which refuses
	// reserved and offensive words.
	Policy handle.Policy
	// AllowPunycode allows handles on HandleDomains whose label begins with "xn--". They are shown in
	// other letters than they are written in, and so can pass for somebody else's.
	AllowPunycode bool
	// Hold is how long a handle on HandleDomains is held after its owner has changed it for another
	// one: until then only that owner can take it back, and an admin can give it to another account. A
	// change of this setting doesn't change holds that have begun. Default 30 days; negative: handles
	// are free at once.
	Hold time.Duration
	// HoldAfterDeletion is how long the handle of a deleted account is held for an account with the same
	// DID, in case it moves here again. Default: it is free at once, since people delete an account to
	// start again with the same handle.
	HoldAfterDeletion time.Duration
	// HostRedirect is the URL to which browsers are redirected that visit the name of an account, such
	// as alice.example.com. "{handle}" in its path, query or fragment is replaced by that name.
	// Default: browsers get a 404, as programs always do.
	HostRedirect string
	// Resolver resolves handles on other domains. Default: by DNS and HTTPS, from public addresses only;
	// for a local host name not at all.
	Resolver handle.Resolver
}

// DIDs configures the DIDs of accounts.
type DIDs struct {
	// Method says how accounts get their DID. Default [DIDPLC].
	Method DIDMethod
	// Directory keeps the operations of did:plc: a [did.Client] for a directory elsewhere, or a
	// [did.Local] in the store. Default: a local one for a local host name, so that whoever tries
	// things out publishes nothing, and otherwise that at [did.PublicDirectory].
	Directory did.Directory
	// RotationKey signs the operations by which the server changes the DIDs of its accounts. It may be
	// in a hardware module or a key management service; [did.ParseRotationKey] reads one. Default: a
	// K-256 key that is made once and kept in the store.
	RotationKey did.Signer
	// RecoveryKey is the operator's own rotation key, as a did:key, which outranks the server's.
	// Optional.
	RecoveryKey string
	// Resolver resolves DIDs of other methods than did:plc. Default: did:web by HTTPS, from public
	// addresses only; for a local host name not at all.
	Resolver func(context.Context, syntax.DID) (json.RawMessage, error)
}

// Keys configures the keys that Gatehouse signs and seals with. The defaults are made once and kept in
// the store, which then guards what they guard; bring your own to keep them apart.
type Keys struct {
	// Tokens sign and verify access and refresh tokens: the first signs, all verify, so that keys can be
	// rotated. Default: one for HS256.
	Tokens []sessions.Key
	// Accounts keeps the signing keys of accounts. Default: sealed in the store, with a secret that is
	// in the store too; see [keys.NewSealed] for a secret of your own.
	Accounts keys.Store
}

// Passwords configures the passwords of accounts.
type Passwords struct {
	// MinLength is the fewest characters of a new password. Default 8.
	MinLength int
	// Policy refuses new passwords beyond those that are too short or too long (256 characters), such as
	// those that were leaked somewhere. Optional.
	Policy accounts.PasswordPolicy
	// Memory (KiB), Time (passes) and Threads are the cost of a hash (argon2id). Default 19456, 2, 1.
	Memory, Time uint32
	Threads      uint8
	// Workers is how many hashes are computed at once. Default: one less than there are processors, at
	// least one.
	Workers int
	// Queue is how many passwords wait to be hashed at most; beyond it requests are answered 503.
	// Default: 64 for each worker.
	Queue int
}

// Mail configures e-mail.
type Mail struct {
	// Mailer delivers e-mails; package accounts/mail/deliver has SMTP and files. Default: none are
	// delivered, and flows that need one fail with a logged error.
	Mailer mail.Mailer
	// Templates overrides templates of e-mails; see [mail.NewTemplates].
	Templates fs.FS
	// Timeout bounds one delivery. Default 15 seconds.
	Timeout time.Duration
	// Pages are the URLs of pages of your own where people enter mailed codes, by kind of e-mail; only
	// kinds with a code have one, such as [mail.ResetPassword]. The e-mail then has the URL, and a link
	// to it with the code in the fragment, as in https://example.com/reset#code=ABCDE-FGHIJ. Default:
	// e-mails have no link, and tell people to enter the code in the app that asked for it.
	Pages map[mail.Kind]string
	// MuteNotices are kinds of [mail.Notices] that owners are not sent, such as
	// [mail.AppPasswordCreated].
	MuteNotices []mail.Kind
	// AddressPolicy refuses addresses of accounts beyond those that are malformed. Default
	// [accounts.DefaultEmailPolicy], which refuses known disposable ones.
	AddressPolicy accounts.EmailPolicy
}

// Limits configures how much a client may ask for.
type Limits struct {
	// Limiter counts requests: [ratelimit.Memory] for each process by itself, [ratelimit.Shared] for all
	// processes on one store together, [ratelimit.Off], or your own. Default: a Memory.
	Limiter ratelimit.Limiter
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix
}

// Description is what the server says about itself, in describeServer and, but for BlobUploadLimit, on
// its home page. All of it is optional.
type Description struct {
	ContactEmail      string
	PrivacyPolicyURL  string
	TermsOfServiceURL string
	// BlobUploadLimit is in bytes.
	BlobUploadLimit int64
	// ShowVersion shows the version of Gatehouse on the home page.
	ShowVersion bool
}
