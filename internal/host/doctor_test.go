package host

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDoctorFindsWhatThisMachineHas(t *testing.T) {
	names := map[string]bool{}
	for _, f := range Doctor(t.Context()) {
		assert.False(t, names[f.Name], f.Name)
		names[f.Name] = true
		assert.NotEmpty(t, f.NeededFor, f.Name)
		if f.Found {
			assert.Empty(t, f.Fix, f.Name)
			assert.NotContains(t, f.Version, "\n")
		} else {
			assert.NotEmpty(t, f.Fix, f.Name)
		}
		if f.Name == "node" && f.Found {
			assert.Regexp(t, `^\d+\.\d+\.\d+$`, f.Version)
			assert.NotEmpty(t, f.Path)
		}
	}
	for _, name := range []string{"node", "npm", "python3", "python3 venv", "postgres", "redis-server", "pg_dump", "exiftool", "ffmpeg", "ffprobe", "libmagic", "git", "gitleaks", "dagger", "dagger engine"} {
		assert.Contains(t, names, name)
	}
}

func TestDoctorSaysHowToGetWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, q := range questions {
		if q.name == "postgres" || q.name == "pg_dump" { // are found where Debian keeps them
			continue
		}
		f := q.answer(t.Context())
		assert.False(t, f.Found, f.Name)
	}
	assert.False(t, Engine(t.Context()).Found)
}

func TestVersionsAreReadFromWhatProgramsSay(t *testing.T) {
	for text, want := range map[string]string{
		"v20.20.2": "20.20.2", "Python 3.11.7": "3.11.7", "git version 2.39.5": "2.39.5", "12.57": "12.57",
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0": "7.0.15", "dagger v0.21.4 (image://x) linux/amd64": "0.21.4",
		"ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026": "5.1.9-0+deb12u1", "ffmpeg version N-1-g1 Copyright": "ffmpeg version N-1-g1 Copyright",
	} {
		assert.Equal(t, want, versionIn(text))
	}
}
