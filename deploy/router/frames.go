package router

import "encoding/binary"

// frames follows the frames of a WebSocket (RFC 6455 section 5.2) to know where one ends: a close frame can only be put
// between two. It looks at no payload.
type frames struct {
	head [14]byte // of the frame being read: 2 bytes, up to 8 of length, up to 4 of mask
	have int
	left uint64 // payload that is still to come
}

// between says whether the last byte seen ended a frame.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 }

// track follows bytes.
func (f *frames) track(data []byte) {
	for len(data) > 0 {
		n, _ := f.next(data)
		data = data[n:]
	}
}

// next follows bytes up to the end of the frame they begin in, and says how many that are and whether it was reached.
func (f *frames) next(data []byte) (n int, ended bool) {
	for n < len(data) {
		if f.left > 0 {
			step := min(f.left, uint64(len(data)-n))
			f.left -= step
			n += int(step)
			if f.left == 0 {
				return n, true
			}
			continue
		}
		f.head[f.have] = data[n]
		f.have++
		n++
		if f.have < f.size() {
			continue
		}
		f.left = f.payload()
		f.have = 0
		if f.left == 0 {
			return n, true
		}
	}
	return n, false
}

// size is the length of the header, as far as it is known: at least 2.
func (f *frames) size() int {
	size := 2
	if f.have < 2 {
		return size
	}
	switch f.head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.head[1]&0x80 != 0 {
		size += 4
	}
	return size
}

func (f *frames) payload() uint64 {
	switch length := f.head[1] & 0x7f; length {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(f.head[2:])
	default:
		return uint64(length)
	}
}
