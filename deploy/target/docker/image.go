package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
)

// Has says whether an image is on the host, so that it need not be sent.
func (t *Target) Has(ctx context.Context, artifact string) (bool, error) {
	_, found, err := t.inspectImage(ctx, artifact)
	if err != nil {
		return false, fmt.Errorf("look for image %s on %s: %w", artifact, t.host.name, err)
	}
	return found, nil
}

// Load sends images to the host: a tarball as `docker save` writes it, or an OCI layout in one where the host's Docker is
// 25 or newer. It returns the references under which they are there.
func (t *Target) Load(ctx context.Context, tarball io.Reader) ([]string, error) {
	loaded, err := t.load(ctx, tarball)
	if err != nil {
		return nil, fmt.Errorf("send images to %s: %w", t.host.name, err)
	}
	return loaded, nil
}

func (t *Target) load(ctx context.Context, tarball io.Reader) ([]string, error) {
	answer, err := t.client.ImageLoad(ctx, tarball, client.ImageLoadWithQuiet(true))
	if err != nil {
		return nil, t.explain(err)
	}
	defer answer.Close()
	var loaded []string
	for decoder := json.NewDecoder(answer); ; {
		var message jsonstream.Message
		err := decoder.Decode(&message)
		switch {
		case errors.Is(err, io.EOF) && len(loaded) == 0:
			return nil, errors.New("the tarball holds no image")
		case errors.Is(err, io.EOF):
			return loaded, nil
		case err != nil:
			return nil, t.explain(err)
		case message.Error != nil:
			return nil, errors.New(message.Error.Message)
		}
		for _, before := range []string{"Loaded image: ", "Loaded image ID: "} {
			if name, ok := strings.CutPrefix(strings.TrimSpace(message.Stream), before); ok {
				loaded = append(loaded, name)
			}
		}
	}
}

// image is an image on the host, pulled where it is not there yet.
func (t *Target) image(ctx context.Context, artifact string) (image.InspectResponse, error) {
	found, ok, err := t.inspectImage(ctx, artifact)
	if ok || err != nil {
		return found, err
	}
	missing := fmt.Errorf("image %s is not on the host", artifact)
	if err := t.pull(ctx, artifact); err != nil {
		return found, fmt.Errorf("%w and cannot be pulled: %w; send it there, or correct the reference or the registry's login", missing, err)
	}
	if found, ok, err = t.inspectImage(ctx, artifact); err == nil && !ok {
		err = fmt.Errorf("%w, though it was pulled", missing)
	}
	return found, err
}

func (t *Target) inspectImage(ctx context.Context, artifact string) (image.InspectResponse, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	if _, err := reference.ParseAnyReference(artifact); err != nil || strings.HasPrefix(artifact, "-") {
		return image.InspectResponse{}, false, fmt.Errorf("image %q: %w", artifact, errors.Join(err, errors.New("want NAME:TAG, NAME@DIGEST or an image's ID")))
	}
	result, err := t.client.ImageInspect(ctx, artifact)
	if errdefs.IsNotFound(err) {
		return image.InspectResponse{}, false, nil
	}
	if err == nil && result.Config == nil {
		err = fmt.Errorf("%s is no image of a container: it has no configuration", artifact)
	}
	return result.InspectResponse, err == nil, t.explain(err)
}

// pull has the host get an image from its registry. ctx bounds it.
func (t *Target) pull(ctx context.Context, artifact string) error {
	named, err := reference.ParseNormalizedNamed(artifact)
	if err != nil {
		return err // an image's ID
	}
	auth := ""
	if t.options.Login != nil {
		server := reference.Domain(named)
		user, password, err := t.options.Login(ctx, server)
		if err != nil {
			return fmt.Errorf("login to %s: %w", server, err)
		}
		if user != "" || password != "" {
			data, err := json.Marshal(registry.AuthConfig{Username: user, Password: password, ServerAddress: server})
			if err != nil {
				return err
			}
			auth = base64.URLEncoding.EncodeToString(data)
		}
	}
	answer, err := t.client.ImagePull(ctx, artifact, client.ImagePullOptions{RegistryAuth: auth})
	if err != nil {
		return t.explain(err)
	}
	return errors.Join(t.explain(answer.Wait(ctx)), answer.Close())
}
