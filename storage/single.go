package storage

// SingleProcess is implemented by stores that no two processes can have open at once: the embedded
// ones. Whoever opens one knows that whatever held a lease in it is gone.
type SingleProcess interface {
	SingleProcess()
}
