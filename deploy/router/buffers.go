package router

import "sync"

// bufferPool lends copy buffers.
type bufferPool struct{ pool sync.Pool }

// bufferSize is what io.Copy uses by itself.
const bufferSize = 32 << 10

var buffers bufferPool

func (b *bufferPool) Get() *[]byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return buffer
	}
	buffer := make([]byte, bufferSize)
	return &buffer
}

func (b *bufferPool) Put(buffer *[]byte) { b.pool.Put(buffer) }
