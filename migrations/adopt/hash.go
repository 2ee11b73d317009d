package adopt

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// sum is how a runner writes down what a file held. It answers false for what it does not take for a sum.
type sum func(body []byte, stored string) (equal, understood bool)

// likeness is how a file stands to the sum that was stored when it was applied.
type likeness int

const (
	unknown  likeness = iota // no sum was stored, or none that is understood
	same                     // the very bytes
	sameText                 // but for line ends, or the last of them
	different
)

// String is the likeness for people.
func (l likeness) String() string {
	return [...]string{"no hash stored", "hash equal", "hash equal but for line ends", "hash differs"}[l]
}

// compare tells an edit from what git and editors do to line ends: prisma-engines does the same
// (schema-connector/src/checksum.rs, script_matches_checksum).
func compare(s sum, body []byte, stored string) likeness {
	if s == nil || stored == "" {
		return unknown
	}
	equal, understood := s(body, stored)
	switch {
	case !understood:
		return unknown
	case equal:
		return same
	}
	unix := bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
	for _, text := range [][]byte{unix, bytes.ReplaceAll(unix, []byte("\n"), []byte("\r\n"))} {
		trimmed := bytes.TrimRight(text, "\r\n")
		for _, variant := range [][]byte{text, trimmed, append(bytes.Clone(trimmed), '\n'), append(bytes.Clone(trimmed), '\r', '\n')} {
			if equal, _ := s(variant, stored); equal {
				return sameText
			}
		}
	}
	return different
}

func sha256Hex(body []byte) string {
	s := sha256.Sum256(body)
	return hex.EncodeToString(s[:])
}

func isHex(text string, bytes int) bool {
	decoded, err := hex.DecodeString(text)
	return err == nil && len(decoded) == bytes
}

// sha256Sum is drizzle-orm's.
func sha256Sum(body []byte, stored string) (equal, understood bool) {
	return strings.EqualFold(sha256Hex(body), stored), isHex(stored, sha256.Size)
}

// prismaSum also takes what old versions wrote, without the zeros in front of a byte (prisma-engines#1887).
func prismaSum(body []byte, stored string) (equal, understood bool) {
	if isHex(stored, sha256.Size) {
		return sha256Sum(body, stored)
	}
	if len(stored) < sha256.Size || len(stored) > 2*sha256.Size || strings.Trim(stored, "0123456789abcdef") != "" {
		return false, false
	}
	var b strings.Builder
	for _, c := range sha256.Sum256(body) {
		fmt.Fprintf(&b, "%x", c)
	}
	return b.String() == stored, true
}

// flywaySum is the CRC-32 of the lines without their ends (flyway-core, ChecksumCalculator.java), as a signed number.
func flywaySum(body []byte, stored string) (equal, understood bool) {
	want, err := strconv.ParseInt(stored, 10, 32)
	if err != nil {
		return false, false
	}
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	return int32(crc32.ChecksumIEEE(withoutLineEnds(body))) == int32(want), true
}

func withoutLineEnds(body []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, body)
}

// anySum is of a runner made by hand: what is as long as a sum of the usual kinds is taken for one.
func anySum(body []byte, stored string) (equal, understood bool) {
	switch {
	case isHex(stored, sha256.Size):
		return sha256Sum(body, stored)
	case isHex(stored, sha1.Size):
		s := sha1.Sum(body)
		return strings.EqualFold(hex.EncodeToString(s[:]), stored), true
	case isHex(stored, md5.Size):
		s := md5.Sum(body)
		return strings.EqualFold(hex.EncodeToString(s[:]), stored), true
	}
	return false, false
}
