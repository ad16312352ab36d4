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
	"github.com/gatehouse-at/gatehouse/oauth"
	"github.com/gatehouse-at/gatehouse/oauth/client"
	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/sessions"
	"github.com/gatehouse-at/gatehouse/signin"
	"github.com/gatehouse-at/gatehouse/xrpc"
)

// Config configures a [Server]. Hostname and HandleDomains are required; everything else has a
// default. [New] reports all mistakes at once.
type Config struct {
	// Hostname is the server's host name, such as "pds.example.com". Only a local host name (see
	// [IsLocal]) may have a port. The server's DID is did:web:HOSTNAME. Host names here and below
	// are normalized: lower case, no trailing dot, internationalized names in ASCII (xn--), no
	// default port (80 or 443).
	Hostname string
	// HandleDomains are the domains under which accounts may take handles, such as ".example.com".
	HandleDomains []string
	// PublicURL is the URL of this server in DID documents, of the form https://HOST. A trailing
	// slash is dropped. Default: https://HOSTNAME, or http://HOSTNAME for a local host name with
	// another port than 443.
	PublicURL string
	// ExtraHostnames are further host names of the server, without ports, beside Hostname and the
	// host of PublicURL. All other names on HandleDomains are for accounts: see
	// [Server.HandleHosts]. No account can take one of the server's own names as its handle.
	ExtraHostnames []string
	// ServiceName is the name of the server in e-mails and on its home page. Default: Hostname.
	ServiceName string

	// Admins decides who is an admin, such as xrpc.Passwords{"admin": "…"}, whose passwords must
	// have at least 12 characters. Default: nobody is, and admin methods refuse everybody.
	Admins xrpc.AdminAuth
	// ModService is the DID of a moderation service, such as an Ozone, that may call the admin
	// methods for moderators with service auth. Optional.
	ModService string

	SignUp    SignUp
	SignIn    SignIn
	Handles   Handles
	DIDs      DIDs
	Keys      Keys
	Passwords Passwords
	OAuth     OAuth
	Pages     Pages
	Mail      Mail
	Limits    Limits

	// MinDeletionDelay is the minimum time between a deactivation and the deletion that the owner
	// schedules with it (deleteAfter of com.atproto.server.deactivateAccount). Default 72 hours.
	MinDeletionDelay time.Duration
	// EmailForAppPasswords shows the e-mail address of an account to its sessions of app passwords.
	EmailForAppPasswords bool

	Description Description

	// RepoStatus returns the state of an account's repository, for checkAccountStatus and for
	// com.atproto.sync.listRepos and getRepoStatus. listRepos calls it for each account of a page,
	// so a program with many repositories should serve that method itself: see LeaveToFallback.
	// Default: there are no repositories.
	RepoStatus xrpc.RepoStatusFunc
	// Hooks take part in changes of accounts, inside their transactions: see [accounts.Hook]. They
	// run in this order, after what follows from the change in Gatehouse itself. They may be called
	// as soon as [New] is, so the collections that they write must be defined before.
	Hooks []accounts.Hook
	// Fallback serves the methods below /xrpc/ that Gatehouse doesn't have, such as those of
	// repositories. examples/proxy has one that proxies requests to the service that the client
	// names, as PDSs do. See [xrpc.Config] for what a Fallback has to do. Default: these methods
	// are answered 501 MethodNotImplemented.
	Fallback http.Handler
	// LeaveToFallback lists the NSIDs of methods of Gatehouse (see [xrpc.Methods]) that Fallback
	// serves instead, such as com.atproto.sync.listRepos if it has the repositories. Gatehouse
	// neither authorizes nor limits these calls.
	LeaveToFallback []string

	// NoMaintenance leaves background work to the program, which must call [Server.Maintain]
	// periodically, for example from a scheduler of its own or from a test. By default the Server
	// calls it once a minute; of several processes on one store, one does.
	NoMaintenance bool

	// Logger receives a line for each request, and what operators should know. Default
	// [slog.Default].
	Logger *slog.Logger
	// Now returns the time. Default [time.Now].
	Now func() time.Time
	// Rand is the source of randomness. Default [rand.Reader].
	Rand io.Reader
}

// SignUp configures who may sign up.
type SignUp struct {
	// Mode says who may sign up: everybody ([SignUpOpen], the default), people with an invite code
	// ([SignUpInvites]), accounts that move here from another server ([SignUpMigrations]), or
	// nobody ([SignUpClosed]).
	Mode SignUpMode
	// Check is a further condition, such as a captcha, a payment or a list of names. It is called
	// after all other checks, outside transactions and before the password is hashed.
	// [ratelimit.FromContext] returns the client's address (of an IPv6 address its /64). If Check
	// returns an error, no account is created and nothing of the attempt is kept. The client is
	// answered by the kind of error: an error with a method PublicMessage() string is a 400 with
	// that message, an [xrpc.Error] is sent as it is, [accounts.ErrSignUpClosed] is answered as in
	// the mode closed, the error of a context that has ended is a 503, and any other error is a 500
	// without detail. Optional.
	Check func(context.Context, accounts.Applicant) error
	// VerificationRequired sets phoneVerificationRequired in the answer of describeServer. Apps
	// that support it then open /gate/signup of this server, a page that you have to serve, and
	// send the code that it returns as verificationCode. Gatehouse passes the code to Check, and
	// doesn't check it itself.
	VerificationRequired bool
	// InviteInterval is the time in which an account earns an invite code, in the mode invites.
	// Default: accounts earn none.
	InviteInterval time.Duration
	// InviteEpoch is when accounts that are older begin to earn invite codes, in the mode invites.
	InviteEpoch time.Time
}

// SignIn configures how people may prove who they are.
type SignIn struct {
	// Ways are ways of signing in beside app passwords and account passwords, such as an LDAP
	// directory; see the example of [signin.Way]. They are tried in this order, after app passwords
	// and before account passwords.
	Ways []signin.Way
	// Factors are second factors that accounts may have beside mailed codes. They are tried in this
	// order, before mailed codes.
	Factors []signin.Factor
	// NoAccountPasswords forbids account passwords, where Ways take their place: none is accepted
	// to sign in or to delete an account, and none can be set or reset. Accounts can still have app
	// passwords. Don't let anybody sign up then (see SignUp.Mode and SignUp.Check): a way that finds
	// its users by e-mail address or handle would let them into an account that a stranger has
	// created under their name, and the stranger keeps a session in it.
	NoAccountPasswords bool
}

// Handles configures which handles accounts may have.
type Handles struct {
	// Policy decides which words may be in handles. Default [handle.DefaultPolicy], which refuses
	// reserved and offensive words.
	Policy handle.Policy
	// AllowPunycode allows handles on HandleDomains whose label begins with "xn--". Apps may show
	// them in other letters than they are written in, so they can be used to impersonate others.
	AllowPunycode bool
	// Hold is how long a handle on HandleDomains is held for an account that has changed it for
	// another one. Until then only this account can take it back, and only an admin can give it to
	// another account. A change of this setting doesn't affect holds that have begun. Default 30
	// days; negative: handles are free at once.
	Hold time.Duration
	// HoldAfterDeletion is how long the handle of a deleted account is held for an account with the
	// same DID, in case it moves here again. Default: it is free at once, since people delete an
	// account to start again with the same handle.
	HoldAfterDeletion time.Duration
	// HostRedirect is the URL to which browsers are redirected that visit the host name of an
	// account, such as alice.example.com. "{handle}" in its path, query or fragment is replaced by
	// that name. Default: browsers are answered 404, as other clients always are.
	HostRedirect string
	// Resolver resolves handles on other domains. Default: by DNS and HTTPS, connecting to public
	// addresses only; none if Hostname is local.
	Resolver handle.Resolver
}

// DIDMethod says how accounts get their DIDs.
type DIDMethod string

// The DID methods.
const (
	// DIDPLC registers a did:plc in a directory.
	DIDPLC DIDMethod = "plc"
	// DIDWeb makes a did:web of the handle, whose document this server serves. Whoever takes the
	// handle of a deleted account then has its DID.
	DIDWeb DIDMethod = "web"
)

// DIDs configures the DIDs of accounts.
type DIDs struct {
	// Method says how new accounts get their DIDs. Default [DIDPLC].
	Method DIDMethod
	// Directory keeps the operations of did:plc: a [did.Client] for a directory elsewhere, or a
	// [did.Local] in the store. Default: if Hostname is local, a local directory, so that trying
	// Gatehouse out publishes nothing; otherwise [did.PublicDirectory].
	Directory did.Directory
	// RotationKey signs the operations by which the server changes the DIDs of its accounts. It may
	// be in a hardware module or a key management service; [did.ParseRotationKey] reads one from
	// text. Default: a K-256 key that is generated once and kept in the store.
	RotationKey did.Signer
	// RecoveryKey is the operator's own rotation key, as a did:key, which outranks RotationKey.
	// Optional.
	RecoveryKey string
	// Resolver resolves DIDs of other methods than did:plc. Default: did:web by HTTPS, connecting
	// to public addresses only; none if Hostname is local.
	Resolver func(context.Context, syntax.DID) (json.RawMessage, error)
}

// Keys configures the keys with which Gatehouse signs and encrypts. The defaults are generated once
// and kept in the store, so whoever can read the store has them. To keep them apart, provide your
// own.
type Keys struct {
	// Tokens sign and verify access and refresh tokens. The first key signs and all keys verify, so
	// that they can be rotated without ending sessions. Default: one key for HS256.
	Tokens []sessions.Key
	// OAuth are the keys that sign access tokens of OAuth sessions, whose public parts are served at
	// /oauth/jwks. The first key signs and all keys are published. To rotate them, put a new one
	// first, and remove the old one after an hour. Default: one key.
	OAuth []sessions.OAuthKey
	// Accounts keeps the signing keys of accounts, and may be backed by a hardware module or a key
	// management service. Default: encrypted in the store, under a secret that is in the store too;
	// see [keys.NewSealed] for a secret of your own.
	Accounts keys.Store
}

// OAuth configures how applications get access to accounts without knowing their passwords. By
// default the server is its own authorization server, at the origin of PublicURL. If that is
// neither https nor on a loopback address, OAuth is off, since no client would accept it.
type OAuth struct {
	// Issuer is the URL of another authorization server that has the accounts' passwords, such as an
	// entryway. This server then issues no tokens by OAuth and has no pages for it, and takes those of
	// the other one. Default: this server is its own.
	Issuer string
	// Resources are the DIDs of further servers that take the tokens of this one, which is their
	// entryway. They verify tokens with the keys at /oauth/jwks, and ask it nothing: a session that
	// has ended is refused there only when its access token expires, after 30 minutes at most.
	Resources []string
	// TrustedClients are the client IDs (URLs of metadata documents) of applications that the operator
	// vouches for, such as its own: their names are shown as true, and owners are asked for their
	// consent once, as they are for applications that authenticate with a key.
	TrustedClients []string
	// RefusedClients are the client IDs of applications that get nothing, or host names, which stand
	// for all applications of a host and of hosts below it. Tokens that an application was given
	// before are refused too, for as long as it is in the list; Server.OAuth.EndClient ends its
	// sessions for good.
	RefusedClients []string
	// Introspectors are the names and passwords of the operator's own services that may ask
	// /oauth/introspect about tokens. A password has at least 16 characters. Default: none.
	Introspectors map[string]string
	// Paths are where the endpoints and the page for consent are. Default [oauth.DefaultPaths], which
	// are those of other servers of the network.
	Paths oauth.Paths
	// Documents fetches the metadata documents and keys of clients, and those of the Issuer. Default:
	// by HTTPS, connecting to public addresses only; if PublicURL is on a loopback address, by HTTP
	// from there too.
	Documents client.Fetcher
	// PermissionSets resolves the permission sets that applications ask for by name ("include:").
	// Default: by DNS and HTTPS, connecting to public addresses only; none if Hostname is local.
	PermissionSets scope.SetResolver
}

// Pages configures the pages on which people sign in and consent. All of it is optional.
type Pages struct {
	// Templates replaces templates of pages, Assets style sheets and images, and Texts adds languages
	// or replaces texts; see package web/pages.
	Templates, Assets, Texts fs.FS
	// AccountPath is the path below which the pages of an account are. Default "/account".
	AccountPath string
	// AssetPath is the path below which style sheets and images are. Default "/oauth/assets".
	AssetPath string
}

// Passwords configures the passwords of accounts.
type Passwords struct {
	// MinLength is the minimum length of a new password in characters. Default 8.
	MinLength int
	// Policy may refuse new passwords that aren't too short or too long (256 characters), such as
	// those that were leaked elsewhere. Optional.
	Policy accounts.PasswordPolicy
	// Memory (in KiB), Time (in passes) and Threads are the costs of a hash (argon2id). Default
	// 19456, 2, 1.
	Memory, Time uint32
	Threads      uint8
	// Workers is how many hashes are computed at the same time. Default: the number of processors,
	// of which the last hashes only while there have been no other requests for a tenth of a
	// second, so that these needn't wait for a processor. Other requests are those to the handlers
	// of the [Server] that hash no password, and all that pass [Server.HandleHosts] or
	// [Server.RequireAuth]; a program that serves more beside them says how many Workers it can
	// spare.
	Workers int
	// Queue is how many passwords may wait to be hashed. Beyond that, requests are answered 503.
	// Default: 64 for each worker that hashes at any time.
	Queue int
}

// Mail configures e-mail.
type Mail struct {
	// Mailer delivers e-mails. Package accounts/mail/deliver has mailers for SMTP and files.
	// Default: e-mails aren't delivered, and what needs one fails with a logged error.
	Mailer mail.Mailer
	// Templates overrides templates of e-mails; see [mail.NewTemplates].
	Templates fs.FS
	// Timeout is the time limit of a delivery. Default 15 seconds.
	Timeout time.Duration
	// Pages are the URLs of your own pages where people enter mailed codes, by the kind of e-mail.
	// Only kinds with a code may have one, such as [mail.ResetPassword]. The e-mail then contains a
	// link to the page with the code in its fragment, as in
	// https://example.com/reset#code=ABCDE-FGHIJ. Default: e-mails contain no link, and ask people
	// to enter the code in the app that asked for it.
	Pages map[mail.Kind]string
	// MuteNotices lists the kinds of [mail.Notices] that aren't sent, such as
	// [mail.AppPasswordCreated].
	MuteNotices []mail.Kind
	// EmailPolicy decides which well-formed e-mail addresses accounts may have. Default
	// [accounts.DefaultEmailPolicy], which refuses known disposable ones.
	EmailPolicy accounts.EmailPolicy
}

// Limits configures how many requests a client may make.
type Limits struct {
	// Limiter counts requests: a [ratelimit.Memory] in each process by itself, a [ratelimit.Shared]
	// for all processes on one store together, [ratelimit.Off] not at all, or your own. Default: a
	// Memory.
	Limiter ratelimit.Limiter
	// TrustedProxies are the networks of proxies whose X-Forwarded-For headers are believed.
	TrustedProxies []netip.Prefix
}

// Description is what the server says about itself in the answer of
// com.atproto.server.describeServer and, except for BlobUploadLimit, on its home page. All of it is
// optional.
type Description struct {
	// ContactEmail is the address of the operator.
	ContactEmail string
	// PrivacyPolicyURL is the URL of the privacy policy, of the form https://HOST/PATH.
	PrivacyPolicyURL string
	// TermsOfServiceURL is the URL of the terms of service, of the form https://HOST/PATH.
	TermsOfServiceURL string
	// BlobUploadLimit is the maximum size of a blob in bytes. Gatehouse only announces it.
	BlobUploadLimit int64
	// ShowVersion shows the version of Gatehouse on the home page.
	ShowVersion bool
}
