package config_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/metaextract/pipeline/internal/config"
)

func TestSizesAreInBytes(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "512B": 512, "1kB": 1024, "1.5MB": 1572864, "2GB": 2147483648, "1TB": 1099511627776} {
		assert.Equal(t, want, config.Bytes(text), text)
	}
}
