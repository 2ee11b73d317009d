package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Prune removes images of releases that were started here and are not among the last keep of them: by when they were last
// started, whether that was a deployment or a rollback. What any container uses stays, and what other applications or
// environments of the host keep. An image that goes loses all its names, or it would stay. It returns the names that are
// gone; errors about some do not stop it.
//
// It is all that is removed: neither the host's other images nor its build cache are the pipeline's to clear away.
func (t *Target) Prune(ctx context.Context, keep int) ([]string, error) {
	removed, err := t.prune(ctx, keep)
	if err != nil {
		return removed, fmt.Errorf("prune images on %s: %w", t.host.name, err)
	}
	return removed, nil
}

// keptImage is an image under the name that keeps it for a release.
type keptImage struct {
	id, name string
	others   []string // its other names
}

func (t *Target) prune(ctx context.Context, keep int) ([]string, error) {
	if keep < 1 {
		return nil, fmt.Errorf("keep %d releases: at least 1, the one that runs", keep)
	}
	releases, err := t.keptReleases(ctx)
	if err != nil {
		return nil, err
	}
	if len(releases) <= keep {
		return nil, nil
	}
	images, versions, err := t.used(ctx)
	if err != nil {
		return nil, err
	}
	staying, leaving := releases[:keep], releases[keep:]
	for _, r := range leaving {
		if versions[r.version] {
			staying = append(slices.Clip(staying), r)
		}
	}
	for _, r := range staying {
		for _, i := range r.images {
			images[i.id] = true
		}
	}
	var removed []string
	var errs []error
	for _, r := range leaving {
		if versions[r.version] {
			continue
		}
		for _, i := range r.images {
			names := []string{i.name}
			if !images[i.id] && !slices.ContainsFunc(i.others, func(name string) bool {
				return strings.HasPrefix(name, kept) && !strings.HasPrefix(name, t.repositories())
			}) {
				names = append(names, i.others...)
			}
			for _, name := range names {
				gone, err := t.removeImage(ctx, name)
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", name, err))
				} else if gone {
					removed = append(removed, name)
				}
			}
		}
	}
	return removed, errors.Join(errs...)
}

// keep gives an image a name of ours, with when it was started and of which release: it stays for rollbacks when its own
// name moves on or the host clears away images without a name, and Prune knows it. The time stands in the name because
// what Docker remembers (LastTagTime) is of the image, which other environments name as well.
func (t *Target) keep(ctx context.Context, u *unit, version string) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	name := t.repository(u.Component) + ":" + time.Now().UTC().Format(startedFormat) + tag(version)
	before, err := t.client.ImageList(ctx, client.ImageListOptions{Filters: make(client.Filters).Add("reference", t.repository(u.Component)+":*Z-"+tag(version))})
	if err == nil {
		_, err = t.client.ImageTag(ctx, client.ImageTagOptions{Source: u.image, Target: name})
	}
	if err != nil {
		return fmt.Errorf("name the image: %w", t.explain(err))
	}
	for _, summary := range before.Items {
		for _, old := range summary.RepoTags {
			if _, of, ok := parseStarted(old); ok && of == tag(version) && strings.HasPrefix(old, t.repository(u.Component)+":") && old != name {
				_, _ = t.removeImage(ctx, old) // a second name of a release does no harm
			}
		}
	}
	return nil
}

// startedFormat is how a tag begins: it can be compared as text.
const startedFormat = "20060102T150405.000000Z-"

// parseStarted takes the name that keep gives an image apart.
func parseStarted(name string) (at time.Time, version string, ok bool) {
	_, text, ok := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
	if !ok || len(text) < len(startedFormat) {
		return at, "", false
	}
	at, err := time.Parse(startedFormat, text[:len(startedFormat)])
	return at, text[len(startedFormat):], err == nil
}

// keptRelease is what the host has of a release.
type keptRelease struct {
	version string // as tag has it
	images  []keptImage
	started time.Time
}

// keptReleases are those of the application in the environment, the last started first.
func (t *Target) keptReleases(ctx context.Context) ([]*keptRelease, error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	list, err := t.client.ImageList(ctx, client.ImageListOptions{Filters: make(client.Filters).Add("reference", t.repositories()+"*")})
	if err != nil {
		return nil, t.explain(err)
	}
	byVersion := map[string]*keptRelease{}
	for _, summary := range list.Items {
		found, err := t.client.ImageInspect(ctx, summary.ID)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, t.explain(err)
		}
		others := slices.DeleteFunc(slices.Concat(found.RepoTags, found.RepoDigests), func(other string) bool {
			return strings.HasPrefix(other, t.repositories()) || strings.HasPrefix(other, "<none>")
		})
		for _, name := range found.RepoTags {
			at, version, ok := parseStarted(name)
			if !ok || !strings.HasPrefix(name, t.repositories()) {
				continue
			}
			r := byVersion[version]
			if r == nil {
				r = &keptRelease{version: version}
				byVersion[version] = r
			}
			if at.After(r.started) {
				r.started = at
			}
			r.images = append(r.images, keptImage{id: found.ID, name: name, others: others})
		}
	}
	return slices.SortedFunc(maps.Values(byVersion), func(a, b *keptRelease) int { return b.started.Compare(a.started) }), nil
}

// used are the images of all containers of the host, whoever has made them, and the versions, as tag has them, of those
// of the application in the environment.
func (t *Target) used(ctx context.Context) (images, versions map[string]bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	list, err := t.client.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, nil, t.explain(err)
	}
	images, versions = map[string]bool{}, map[string]bool{}
	for _, c := range list.Items {
		images[c.ImageID] = true
		if c.Labels[labelApplication] == t.options.Application && c.Labels[labelEnvironment] == t.options.Environment {
			versions[tag(c.Labels[labelRelease])] = true
		}
	}
	return images, versions, nil
}

// removeImage takes a name from an image; the image goes with its last one. false: it was gone already.
func (t *Target) removeImage(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	_, err := t.client.ImageRemove(ctx, name, client.ImageRemoveOptions{PruneChildren: true})
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	return err == nil, t.explain(err)
}
