// Package postgres is a storage backend that keeps everything in PostgreSQL, for several Gatehouse
// processes that share a database, or for a database that is replicated.
//
//	store, err := postgres.Open(ctx, "postgres://gatehouse@db1,db2,db3/app")
//
// # Tables
//
// Each table is a PostgreSQL table of the same name in the schema "gatehouse" (see [WithSchema]).
// So the tables can share a database with those of an application, and can be read in SQL:
//
//	CREATE TABLE gatehouse.people (
//		key   text COLLATE "C" PRIMARY KEY,
//		doc   jsonb NOT NULL,
//		email text COLLATE "C",    -- an index with one value: a column,
//		age   text COLLATE "C"     -- with a UNIQUE index, or a btree on (age, key)
//	);
//	CREATE TABLE gatehouse.people$tags (value text, key text, PRIMARY KEY (value, key));
//
// An index that may have several values is a table of its own, such as "people$tags", so that
// PostgreSQL can keep the values unique and in order. Names that are too long for PostgreSQL are
// shortened and end in a hash. The definitions are in gatehouse._tables, and the version of this
// layout is in gatehouse._meta; Open and Define create and upgrade both, one process at a time.
//
// # Transactions
//
// An Update is SERIALIZABLE, and a View is REPEATABLE READ READ ONLY. A transaction that conflicts
// with another is rolled back and run again after a short random pause, up to 40 times. BEGIN is
// sent with the first read of the closure, and all writes are sent with COMMIT. So an Update that
// reads once takes two round trips, an Update that only writes takes one, and a View takes one for
// each read. [storage.Prefetch] sends several reads at once.
//
// When a connection is lost before COMMIT is sent, the Update is run again on another connection.
// When the answer to COMMIT is lost, or says that the commit may not have reached the standby
// servers, the Update is not run again, and returns [storage.ErrUnavailable].
//
// # Connections
//
// The URL is one of libpq, and may contain the parameters of pgx (pool_max_conns,
// default_query_exec_mode…). Unless it says otherwise, the store connects only to a server that
// accepts writes (target_session_attrs=read-write), so that a URL with several hosts follows the
// primary after a fail-over. For pgbouncer in transaction mode, add
// default_query_exec_mode=cache_describe.
package postgres
