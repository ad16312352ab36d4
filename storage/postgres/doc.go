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
// A View and an Update read a snapshot (REPEATABLE READ READ ONLY). BEGIN is sent with the first
// read, and an Update keeps its writes until the end. It commits in one exchange, in a transaction
// of its own (READ COMMITTED): it takes advisory locks of everything that it relies on or
// changes, checks that what it relies on is as it was in the snapshot, writes, and
// commits. If something has changed, it is run again, up to 40 times. From then on it takes its
// locks before it reads, so that it gets its turn however busy a document is.
//
// So an Update that reads once takes two round trips, and one that only inserts takes one. One that
// replaces or deletes documents that it hasn't read looks first which index entries they have, if
// the table has indexes: read them with [storage.Prefetch] together with something else. A View
// takes one round trip for each read, and a [storage.ViewOf] takes one.
//
// Why that is serializable: for everything that a transaction relies on there is a lock which
// nobody can hold together with somebody who changes it. When a transaction holds all its locks,
// nothing that it relies on can change until it has committed; then it checks that nothing has
// changed before. So it is as if each ran in the moment in which it commits. A transaction that
// writes nothing is as if it ran in the moment of its snapshot. Since each takes its locks in
// order, they never wait for each other in a circle.
//
// What is locked: a document, by its key, whether it exists or not; a value of a unique index; and
// all values of an index, or all keys, with the same first part (see [storage.Join]). Such a group
// is locked shared by everybody who changes what belongs to it, and exclusively by an Update that
// has scanned a range within it. A scan beyond that locks the table, and so does a transaction that
// needs more than 64 locks in a table. So scan by [storage.Under] and [storage.Exactly] in an
// Update: it waits only for those who change or scan the same group. Waiting is all that it costs:
// a transaction is run again only if a document, a value or a range that it has read has really
// changed. An Update remembers the keys and the versions of all documents that it has scanned.
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
