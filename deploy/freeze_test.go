package deploy

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAFreezeHoldsByTheClockOnTheWall(t *testing.T) {
	tests := map[string]struct {
		freeze, at string
		until      string // "" where nothing is frozen
	}{
		"the moment a weekend begins":              {"fri 16:00 to mon 08:00 Europe/Zurich", "2026-03-06T15:00:00Z", "2026-03-09T07:00:00Z"},
		"a second before":                          {"fri 16:00 to mon 08:00 Europe/Zurich", "2026-03-06T14:59:59Z", ""},
		"in the middle":                            {"fri 16:00 to mon 08:00 Europe/Zurich", "2026-03-08T11:00:00Z", "2026-03-09T07:00:00Z"},
		"the moment it ends":                       {"fri 16:00 to mon 08:00 Europe/Zurich", "2026-03-09T07:00:00Z", ""},
		"a weekend with a change of clocks":        {"fri 16:00 to mon 08:00 Europe/Zurich", "2026-03-29T05:59:59Z", "2026-03-30T06:00:00Z"},
		"a night":                                  {"mon-fri 22:00 to 06:00 UTC", "2026-03-02T23:00:00Z", "2026-03-03T06:00:00Z"},
		"its morning belongs to the evening":       {"mon-fri 22:00 to 06:00 UTC", "2026-03-07T05:59:00Z", "2026-03-07T06:00:00Z"},
		"no night begins on Saturday":              {"mon-fri 22:00 to 06:00 UTC", "2026-03-07T23:00:00Z", ""},
		"a day within a day":                       {"tue 09:00 to tue 17:00 UTC", "2026-03-03T12:00:00Z", "2026-03-03T17:00:00Z"},
		"all week but an hour":                     {"tue 17:00 to tue 16:00 UTC", "2026-03-03T15:00:00Z", "2026-03-03T16:00:00Z"},
		"that hour":                                {"tue 17:00 to tue 16:00 UTC", "2026-03-03T16:30:00Z", ""},
		"every day":                                {"daily 12:00 to 13:00 America/New_York", "2026-07-01T16:30:00Z", "2026-07-01T17:00:00Z"},
		"days over the end of a week":              {"sat-mon 00:00 to 24:00 UTC", "2026-03-02T23:59:00Z", "2026-03-03T00:00:00Z"},
		"holidays":                                 {"2026-12-20 to 2027-01-03 Asia/Tokyo", "2027-01-03T14:59:59Z", "2027-01-03T15:00:00Z"},
		"before the holidays":                      {"2026-12-20 to 2027-01-03 Asia/Tokyo", "2026-12-19T14:59:59Z", ""},
		"the hour that a change of clocks skips":   {"sun 02:30 to sun 04:00 Europe/Zurich", "2026-03-29T01:10:00Z", ""},
		"after it":                                 {"sun 02:30 to sun 04:00 Europe/Zurich", "2026-03-29T01:40:00Z", "2026-03-29T02:00:00Z"},
		"the first of an hour that comes twice":    {"sun 02:30 to sun 04:00 Europe/Zurich", "2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z"},
		"before the first of one that comes twice": {"sun 02:30 to sun 04:00 Europe/Zurich", "2026-10-25T00:29:59Z", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, test.at)
			require.NoError(t, err)
			end, is := frozen(t, test.freeze).Until(at)
			assert.Equal(t, test.until != "", is)
			if test.until != "" {
				assert.Equal(t, test.until, end.UTC().Format(time.RFC3339))
			}
		})
	}
}

func TestAFreezeThatIsNotUnderstoodIsRefused(t *testing.T) {
	for text, why := range map[string]string{
		"":                                    "it isn't understood",
		"weekends":                            "it isn't understood",
		"fri 16:00 to mon 08:00":              "it isn't understood",
		"fri 16:00 to xyz 08:00 UTC":          "that is no day of the week",
		"mon-fry 22:00 to 06:00 UTC":          "that is no day of the week",
		"fri 25:00 to mon 08:00 UTC":          "that is no time of a day",
		"fri 24:01 to mon 08:00 UTC":          "that is no time of a day",
		"fri 16:00 to mon 08:00 Europe/Zurck": "is no time zone that is known here",
		"fri 16:00 to mon 08:00 Local":        "name the time zone",
		"2026-02-30 to 2026-03-01 UTC":        "that is no date",
		"2026-03-02 to 2026-03-01 UTC":        "it ends before it begins",
	} {
		t.Run(text, func(t *testing.T) {
			_, err := ParseFreeze(text)
			assert.ErrorContains(t, err, why)
		})
	}
}

func FuzzAFreezeReadAgainIsTheSame(f *testing.F) {
	for _, text := range []string{"fri 16:00 to mon 08:00 Europe/Zurich", "Mon-Fri  22:00 to 06:00 UTC", "daily 12:00 to 12:00 UTC", "2026-12-20 to 2027-01-03 Asia/Tokyo"} {
		f.Add(text, int64(1_770_000_000))
	}
	f.Fuzz(func(t *testing.T, text string, at int64) {
		one, err := ParseFreeze(text)
		if err != nil {
			return
		}
		data, err := json.Marshal(one)
		require.NoError(t, err)
		var again Freeze
		require.NoError(t, json.Unmarshal(data, &again))
		now := time.Unix(at%4_000_000_000, 0)
		end, is := one.Until(now)
		endAgain, isAgain := again.Until(now)
		assert.Equal(t, is, isAgain)
		assert.True(t, end.Equal(endAgain))
		if is {
			assert.True(t, end.After(now), "%s at %s ends %s", text, now, end)
		}
	})
}
