package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/metaextract/pipeline/ci"
	"github.com/metaextract/pipeline/internal/dagger"
	"github.com/metaextract/pipeline/internal/engine/driver"
)

// The servers a step or a slot can ask for.
const (
	postgresImage   = "postgres"
	postgresVersion = "17"
	postgresPort    = driver.PostgresPort
	redisImage      = "redis"
	redisVersion    = "8"
	redisPort       = 6379
)

// server is a service and how it is reached.
type server struct {
	service  *dagger.Service
	port     int
	password string // "" where it has none
	url      func(host string) string
}

// newServer is a server of its own for every key. The password is made of the key: the server answers only within the
// engine's network and only until its user has ended, and a step that is run again unchanged must be the same to the
// engine's cache.
func newServer(client *dagger.Client, service ci.Service, key string) (*server, error) {
	switch service.Kind {
	case ci.Postgres:
		password := digest("password", key)[:32]
		address := url.URL{
			Scheme: "postgres", User: url.UserPassword("postgres", password), Path: "/application", RawQuery: "sslmode=disable",
		}
		return &server{
			service: postgres(client, service.Version, key, client.SetSecret("password/"+key, password)),
			port:    postgresPort, password: password,
			url: func(host string) string {
				address.Host = fmt.Sprintf("%s:%d", host, postgresPort)
				return address.String()
			},
		}, nil
	case ci.Redis:
		return &server{
			service: redis(client, service.Version, key), port: redisPort,
			url: func(host string) string { return fmt.Sprintf("redis://%s:%d/0", host, redisPort) },
		}, nil
	default:
		return nil, fmt.Errorf("start %s: the engine's runner knows %s and %s", service.Kind, ci.Postgres, ci.Redis)
	}
}

// initdb does not wait for the disk: a third of the time that a server takes to start.
const initdb = "--no-sync"

// accessFile is where a step's PostgreSQL finds who may connect.
const accessFile = "/etc/pipeline/pg_hba.conf"

// postgres gives up durability: the database does not outlive its user.
func postgres(client *dagger.Client, version, key string, password *dagger.Secret) *dagger.Service {
	return client.Container().From(postgresImage+":"+cmp.Or(version, postgresVersion)).
		WithEnvVariable("PIPELINE_KEY", key).
		WithEnvVariable("POSTGRES_DB", "application").
		WithEnvVariable("POSTGRES_INITDB_ARGS", initdb).
		WithSecretVariable("POSTGRES_PASSWORD", password).
		WithNewFile(accessFile, driver.Access).
		WithDockerHealthcheck([]string{"pg_isready", "-q", "-h", "127.0.0.1"}, healthcheck).
		WithExposedPort(postgresPort).
		AsService(dagger.ContainerAsServiceOpts{
			Args: []string{"postgres", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
				"-c", "shared_preload_libraries=pg_stat_statements", "-c", "hba_file=" + accessFile},
			UseEntrypoint: true,
		})
}

func redis(client *dagger.Client, version, key string) *dagger.Service {
	return client.Container().From(redisImage+":"+cmp.Or(version, redisVersion)).
		WithEnvVariable("PIPELINE_KEY", key).
		WithDockerHealthcheck([]string{"redis-cli", "ping"}, healthcheck).
		WithExposedPort(redisPort).
		AsService(dagger.ContainerAsServiceOpts{
			Args:          []string{"redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--appendonly", "no"},
			UseEntrypoint: true,
		})
}

// healthcheck asks a server in its own protocol until it answers: an open port is not enough.
var healthcheck = dagger.ContainerWithDockerHealthcheckOpts{
	Interval: "1s", Timeout: "5s", StartPeriod: "60s", StartInterval: "200ms", Retries: 5,
}

// withServices binds the step's services to its container: the engine starts them when it runs the step and stops them
// afterwards.
func (e *execution) withServices(ctx context.Context, container *dagger.Container, attempt string) (*dagger.Container, error) {
	if len(e.step.Services) == 0 {
		return container, nil
	}
	stepKey, err := e.key(ctx, e.node)
	if err != nil {
		return nil, err
	}
	asked := 0
	for _, service := range e.step.Services {
		key := digest(stepKey, attempt, service.Env)
		server, err := newServer(e.options.Client, service, key)
		if err != nil {
			return nil, err
		}
		host := driver.Host(service)
		container = container.WithServiceBinding(host, server.service)
		if server.password == "" {
			container = container.WithEnvVariable(service.Env, server.url(host))
			continue
		}
		e.redact.Secret(server.password)
		container = container.WithSecretVariable(service.Env, e.options.Client.SetSecret("url/"+key, server.url(host)))
		question, err := driver.Question(server.password)
		if err != nil {
			return nil, err
		}
		asked++
		container = container.WithMountedSecret(driver.QuestionFile(asked), e.options.Client.SetSecret("question/"+key, question))
	}
	return container, nil
}

// key tells a step from every other one, by what it is and by the content of its inputs. Two steps that the engine does
// not take for one must not share a server.
func (r *Runner) key(ctx context.Context, n *node) (string, error) {
	after := ""
	if n.after != nil {
		var err error
		if after, err = r.key(ctx, n.after); err != nil {
			return "", err
		}
	}
	content := ""
	if len(n.step.Inputs) > 0 {
		var err error
		if content, err = inputs(r.options.Source, n.step).Digest(ctx); err != nil {
			return "", fmt.Errorf("read inputs: %w", err)
		}
	}
	step := n.step
	step.After = nil
	definition, err := json.Marshal(step)
	if err != nil {
		return "", err
	}
	return digest(after, content, string(definition)), nil
}

func digest(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:])
}
