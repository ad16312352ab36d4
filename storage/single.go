package storage

// SingleProcess is implemented by stores that only one process at a time can have open, such as the
// embedded ones. A process that opens one knows that every other holder of a lease in it has ended.
type SingleProcess interface {
	SingleProcess()
}
