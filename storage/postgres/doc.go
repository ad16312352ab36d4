// Package postgres is a storage backend in PostgreSQL, for several Gatehouse
// processes on one database, or for a database that is replicated already.
//
//	store, err := postgres.Open(ctx, "postgres://gatehouse@db1,db2,db3/app")
//
// # Tables
//
// Each table of a collection is a table of the same name in the schema "gatehouse"
// (see [WithSchema]), so that it can share an application's database and be read in SQL:
//
//	CREATE TABLE gatehouse.people (
//		key   text COLLATE "C" PRIMARY KEY,
//		doc   jsonb NOT NULL,
//		email text COLLATE "C",    -- an index with one value: a column,
//		age   text COLLATE "C"     -- with a UNIQUE index, or a btree on (age, key)
//	);
//	CREATE TABLE gatehouse.people$tags (value text, key text, PRIMARY KEY (value, key));
//
// An index that may have several values is a table of its own, "people$tags": only so
// can PostgreSQL keep the values unique and return them in order. Names too long for
// PostgreSQL end in a hash. The definitions are in gatehouse._tables and the
// version of this layout in gatehouse._meta; both are made and brought up to date
// by Open and Define, one process at a time.
//
// # Transactions
//
// Update is SERIALIZABLE and View is REPEATABLE READ READ ONLY. A transaction that meets
// another is rolled back and run again, after a short random pause, up to [MaxAttempts] times.
// Nothing is sent before the closure's first read, and writes wait for the end: BEGIN travels
// with the first read, and all writes with COMMIT. So an Update that reads once
// takes two round trips, one that only writes takes one, and the caller of a View
// waits for its reads only. [storage.Prefetch] sends several reads at once.
//
// When a connection is lost before COMMIT was sent, the Update runs again on another. When the
// answer to COMMIT is lost, or says that the commit may not have reached the standby servers,
// the Update is not repeated: it returns [storage.ErrUnavailable].
//
// # Connections
//
// The URL is that of libpq, and pgx's own parameters (pool_max_conns,
// default_query_exec_mode…) work in it. Unless it says otherwise, connections are only
// made to a server that takes writes (target_session_attrs=read-write), so a URL with
// several hosts follows the primary after a fail-over.
// Behind pgbouncer in transaction mode add default_query_exec_mode=cache_describe.
package postgres
