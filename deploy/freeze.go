package deploy

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Freeze is a window of time in which nothing is deployed. It is written in one of three forms, each with a time zone of
// the IANA database; the end is not part of it:
//
//	fri 16:00 to mon 08:00 Europe/Zurich     every week, from the one to the other
//	mon-fri 22:00 to 06:00 America/New_York  on each of these days, to the next day where the end isn't later; also "daily"
//	2026-12-20 to 2027-01-03 UTC             once, whole days, the last one included
//
// Hours are the clock's on the wall there. A time that a clock change leaves out is the moment after the change, and one
// that comes twice is the first.
type Freeze struct {
	text     string
	zone     *time.Location
	days     []time.Weekday // on which it begins; nil for the form with dates
	from, to clock
	lasts    int       // days from its beginning to its end
	first    time.Time // of the form with dates, at 00:00 UTC
	last     time.Time
}

type clock struct{ hour, minute int }

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

var (
	weekForm = regexp.MustCompile(`^([a-z]{3}) (\d\d):(\d\d) to ([a-z]{3}) (\d\d):(\d\d) (\S+)$`)
	dayForm  = regexp.MustCompile(`^(daily|[a-z]{3}(?:-[a-z]{3})?) (\d\d):(\d\d) to (\d\d):(\d\d) (\S+)$`)
	dateForm = regexp.MustCompile(`^(\d{4}-\d\d-\d\d) to (\d{4}-\d\d-\d\d) (\S+)$`)
)

// ParseFreeze reads a window. The error says what is wrong with it.
func ParseFreeze(text string) (f Freeze, err error) {
	fail := func(why string) (Freeze, error) {
		return Freeze{}, fmt.Errorf("freeze %q: %s; write it like \"fri 16:00 to mon 08:00 Europe/Zurich\", \"mon-fri 22:00 to 06:00 UTC\" or \"2026-12-20 to 2027-01-03 UTC\"", text, why)
	}
	f.text = strings.Join(strings.Fields(text), " ")
	lower := f.text
	if zone := strings.LastIndexByte(lower, ' '); zone > 0 {
		lower = strings.ToLower(lower[:zone]) + lower[zone:]
	}
	var zone string
	switch {
	case weekForm.MatchString(lower):
		m := weekForm.FindStringSubmatch(lower)
		begin, end := slices.Index(weekdays, m[1]), slices.Index(weekdays, m[4])
		if begin < 0 || end < 0 {
			return fail("that is no day of the week")
		}
		f.from, f.to = clockOf(m[2], m[3]), clockOf(m[5], m[6])
		f.days, f.lasts = []time.Weekday{time.Weekday(begin)}, (end-begin+7)%7
		if f.lasts == 0 && !f.from.before(f.to) {
			f.lasts = 7
		}
		zone = m[7]
	case dayForm.MatchString(lower):
		m := dayForm.FindStringSubmatch(lower)
		if f.days, err = daysOf(m[1]); err != nil {
			return fail(err.Error())
		}
		f.from, f.to = clockOf(m[2], m[3]), clockOf(m[4], m[5])
		if !f.from.before(f.to) {
			f.lasts = 1
		}
		zone = m[6]
	case dateForm.MatchString(lower):
		m := dateForm.FindStringSubmatch(lower)
		var wrong [2]error
		f.first, wrong[0] = time.Parse(time.DateOnly, m[1])
		f.last, wrong[1] = time.Parse(time.DateOnly, m[2])
		if errors.Join(wrong[:]...) != nil {
			return fail("that is no date")
		}
		if f.last.Before(f.first) {
			return fail("it ends before it begins")
		}
		zone = m[3]
	default:
		return fail("it isn't understood")
	}
	if f.from.wrong() || f.to.wrong() {
		return fail("that is no time of a day")
	}
	if zone == "Local" {
		return fail("name the time zone: everybody's is another one")
	}
	if f.zone, err = time.LoadLocation(zone); err != nil {
		return fail(fmt.Sprintf("%q is no time zone that is known here", zone))
	}
	return f, nil
}

func daysOf(text string) ([]time.Weekday, error) {
	if text == "daily" {
		text = "sun-sat"
	}
	begin, end, several := strings.Cut(text, "-")
	if !several {
		end = begin
	}
	b, e := slices.Index(weekdays, begin), slices.Index(weekdays, end)
	if b < 0 || e < 0 {
		return nil, errors.New("that is no day of the week")
	}
	var days []time.Weekday
	for i := 0; i <= (e-b+7)%7; i++ {
		days = append(days, time.Weekday((b+i)%7))
	}
	return days, nil
}

func clockOf(hour, minute string) (c clock) {
	_, _ = fmt.Sscanf(hour+" "+minute, "%d %d", &c.hour, &c.minute) // two digits each
	return c
}

func (c clock) before(other clock) bool {
	return c.hour < other.hour || c.hour == other.hour && c.minute < other.minute
}

func (c clock) wrong() bool { return c.hour > 24 || c.minute > 59 || c.hour == 24 && c.minute > 0 }

// String is the window as it was written.
func (f Freeze) String() string { return f.text }

// MarshalJSON writes the window as it was written.
func (f Freeze) MarshalJSON() ([]byte, error) { return json.Marshal(f.text) }

// UnmarshalJSON reads a window.
func (f *Freeze) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	parsed, err := ParseFreeze(text)
	if err == nil {
		*f = parsed
	}
	return err
}

// Until says whether a moment is within the window, and when that one ends.
func (f Freeze) Until(now time.Time) (end time.Time, frozen bool) {
	if f.zone == nil {
		return end, false
	}
	now = now.In(f.zone)
	if f.days == nil {
		begin := f.at(f.first, 0, clock{})
		end = f.at(f.last, 1, clock{})
		return end, !now.Before(begin) && now.Before(end)
	}
	year, month, day := now.Date()
	today := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	for back := 0; back <= f.lasts; back++ { // the latest beginning first
		began := today.AddDate(0, 0, -back)
		if !slices.Contains(f.days, began.Weekday()) {
			continue
		}
		end = f.at(began, f.lasts, f.to)
		if !now.Before(f.at(began, 0, f.from)) && now.Before(end) {
			return end, true
		}
	}
	return time.Time{}, false
}

// at is a time of a day there. Of a time that doesn't exist or comes twice, time.Date promises one of two choices; the
// offset before the change is the one that fits both of this type's rules.
func (f Freeze) at(day time.Time, after int, c clock) time.Time {
	year, month, date := day.AddDate(0, 0, after).Date()
	t := time.Date(year, month, date, c.hour, c.minute, 0, 0, f.zone)
	_, before := t.Add(-12 * time.Hour).Zone()
	_, offset := t.Zone()
	if offset == before {
		return t
	}
	earlier := time.Date(year, month, date, c.hour, c.minute, 0, 0, time.FixedZone("", before)).In(f.zone)
	if earlier.Hour() == c.hour%24 && earlier.Minute() == c.minute && earlier.Before(t) {
		return earlier // it comes twice
	}
	return t
}
