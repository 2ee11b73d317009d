package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func canaryOutput(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := canaryCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&bytes.Buffer{})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{"study"}, args...))
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestCanaryStudyPrintsTheChosenCells(t *testing.T) {
	table, err := canaryOutput(t, "--runs", "20", "--cells", "share, all fail", "--cells", "no users")
	require.NoError(t, err)
	assert.Contains(t, table, "| 10 % share, all fail | 100.0 %; ")
	assert.Contains(t, table, "| no users | 0.00 % | 0.00 % | 100.0 % |")
	assert.NotContains(t, table, "Healthy")

	again, err := canaryOutput(t, "--runs", "20", "--cells", "share, all fail", "--cells", "no users")
	require.NoError(t, err)
	assert.Equal(t, table, again, "the seed decides")
}

func TestCanaryStudyAsJSON(t *testing.T) {
	out, err := canaryOutput(t, "--runs", "5", "--seed", "3", "--cells", "retries without end", "-o", "json")
	require.NoError(t, err)
	var got struct {
		Runs  int `json:"runs"`
		Seed  int `json:"seed"`
		Cells []struct {
			Cell    string `json:"cell"`
			Healthy bool   `json:"healthy"`
		} `json:"cells"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	assert.Equal(t, []int{5, 3, 1}, []int{got.Runs, got.Seed, len(got.Cells)})
	assert.True(t, got.Cells[0].Healthy)
}

func TestCanaryStudyRefusesWhatItCannotRun(t *testing.T) {
	for args, want := range map[[2]string]string{
		{"--runs", "0"}:        "--runs 0: must be 1 or more",
		{"--cells", "someone"}: "--cells someone: there is no such cell",
		{"-o", "xml"}:          "--output xml: must be text or json",
	} {
		_, err := canaryOutput(t, args[:]...)
		require.ErrorContains(t, err, want)
	}
}
