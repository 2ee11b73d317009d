package haproxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/metaextract/pipeline/deploy/router"
)

func TestRecordsAreRead(t *testing.T) {
	l, ok, err := parse("1764100000000000 1764100000001500 1764100000002000 green STREAM 10 green.1.once/app 201 -- POST 00112233445566AA - staff /orders/7 and more")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, line{
		stream: "STREAM", path: "/orders/7 and more", method: "POST", outcome: answered,
		Record: router.Record{
			Time: time.UnixMicro(1764100000000000).UTC(), Cohort: "00112233445566aa", Status: 201, Class: router.OK,
			FirstByte: 1500, End: 2000, Weight: 10, By: router.ByRule, Rule: "staff",
		},
	}, l)
}

func TestWhoseDoingAnEndWas(t *testing.T) {
	for name, c := range map[string]struct {
		state, server string
		began         bool
		status        int
		want          router.Class
		wantStatus    int
	}{
		"answered":                               {"--", "app", true, 404, router.OK, 404},
		"the application's error":                {"--", "app", true, 503, router.AppError, 503},
		"broken off within the answer":           {"SD", "app", true, 200, router.AppError, 200},
		"silent within the answer":               {"sD", "app", true, 200, router.AppError, 200},
		"an answer that is not HTTP in its body": {"PD", "app", true, 200, router.AppError, 200},
		"no answer, as said by the apology":      {"--", "apology", true, 502, router.RouterMade, 502},
		"refused":                                {"SC", "app", false, 502, router.RouterMade, 502},
		"does not accept":                        {"sC", "app", false, 502, router.RouterMade, 502},
		"no answer in time":                      {"sH", "app", false, 504, router.RouterMade, 504},
		"an answer that is none":                 {"PH", "app", false, 502, router.RouterMade, 502},
		"the client went away early":             {"CH", "app", false, -1, router.ClientAbort, 499},
		"the client went away late":              {"CD", "app", true, 200, router.ClientAbort, 200},
		"the client took nothing":                {"cD", "app", true, 200, router.ClientAbort, 200},
		"the client sent too slowly":             {"cD", "app", false, 408, router.ClientAbort, 408},
		"a conversation that a client left":      {"CD", "app", true, 101, router.OK, 101},
		"HAProxy ran out of something":           {"RC", "app", false, 500, router.RouterMade, 500},
	} {
		first := "-"
		if c.began {
			first = "2"
		}
		l, ok, err := parse(fmt.Sprintf("1 %s 3 blue S 100 blue.0/%s %d %s GET - - - /", first, c.server, c.status, c.state))
		require.NoError(t, err, name)
		require.True(t, ok, name)
		require.Equal(t, c.want, l.Class, name)
		require.Equal(t, c.wantStatus, l.Status, name)
		require.Equal(t, 100, l.Weight)
	}
}

func TestWhatReachedNoApplicationIsNoRecord(t *testing.T) {
	for _, text := range []string{
		"- - 3 - - - public/<NOSRV> 400 PR <BADREQ> - - - <BADREQ>",
		"1 - 3 - - - public/<NOSRV> 503 LR GET - - - /",
		"1 - 3 blue S 100 public/<NOSRV> 404 LR GET - - - /nowhere",
	} {
		_, ok, err := parse(text)
		require.NoError(t, err, text)
		require.False(t, ok, text)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("1 2 3 blue S 100 blue.0/app 200 -- GET c 1 r /x")
	f.Add("5 events dropped")
	f.Add("1 2 3 blue S 0 blue.0/app 200 -- GET c - - ")
	f.Fuzz(func(t *testing.T, text string) {
		l, ok, err := parse(text)
		if err != nil || !ok {
			return
		}
		require.GreaterOrEqual(t, l.FirstByte, int64(0))
		require.LessOrEqual(t, l.FirstByte, l.End)
		require.NotEmpty(t, l.Class)
		require.True(t, strings.HasSuffix(text, l.path))
	})
}

func TestRecordsThatHAProxyCouldNotKeepAreLost(t *testing.T) {
	c := &collector{id: "c", size: 3, routes: map[string]string{}}
	add := func(path string) { c.add("1 2 3 blue S 100 blue.0/app 200 -- GET - - - " + path) }
	add("/a")
	c.add("1 event dropped")
	c.add("41 events dropped")
	add("/b")
	s := c.of("S")
	batch, _ := s.after(router.Cursor{}, 10)
	require.EqualValues(t, 42, batch.Lost)
	require.Len(t, batch.Records, 2)
	again, _ := s.after(router.Cursor{}, 1)
	require.Zero(t, again.Lost, "they would have come after the first")
	rest, _ := s.after(again.Next, 10)
	require.EqualValues(t, 42, rest.Lost)
	end, _ := s.after(rest.Next, 10)
	require.Zero(t, end.Lost, "once")
	for _, path := range []string{"/c", "/d", "/e"} {
		add(path)
	}
	late, _ := s.after(again.Next, 10)
	require.EqualValues(t, 1, late.Lost-42, "what was overwritten here is lost as well")
	require.Len(t, late.Records, 3)
}

func TestNamesOfRoutesAreBounded(t *testing.T) {
	c := &collector{routes: map[string]string{}}
	for n := range 2 * maxRoutes {
		c.route("GET", "/"+strings.Repeat("x", n%20)+"/"+strings.Repeat("y", n/20%20)+"/"+strings.Repeat("z", n/400))
	}
	require.LessOrEqual(t, len(c.routes), maxRoutes+1)
	require.Equal(t, "GET other", c.route("GET", "/one/more"))
}

// BenchmarkCollect is what a record costs this process, on the processor that HAProxy may share.
func BenchmarkCollect(b *testing.B) {
	c := &collector{id: "c", size: router.DefaultRecords, routes: map[string]string{}}
	b.ReportAllocs()
	for b.Loop() {
		c.add("1764100000000000 1764100000001500 1764100000002000 green HVXGQ2K4Q5Y6M7N2C3B4A5Z6X7 10 green.1.once/app 201 -- POST 00112233445566AA - - /orders/7/items")
	}
}
