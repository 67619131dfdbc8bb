// Testcontainers for Go: the generic container with every wait strategy, files, commands and its reaper.
//
// With "abort" as its argument it starts a session that nobody ends, and is killed: what is left is the reaper's.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	tc "github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/exec"
	own "github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
)

const serve = "mkdir -p /www && echo hello >/www/index.html && exec httpd -f -p 8080 -h /www"

var ctx, cancel = context.WithTimeout(context.Background(), 100*time.Second)

type option = tc.ContainerCustomizer

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(holds bool, facts ...any) {
	if !holds {
		panic(fmt.Sprint(facts...))
	}
}

func start(script string, options ...option) (*tc.DockerContainer, error) {
	return tc.Run(ctx, "busybox", append([]option{tc.WithCmd("sh", "-c", script)}, options...)...)
}

// Starts one, uses it, and sees to it that it is gone afterwards.
func within(script string, use func(*tc.DockerContainer), options ...option) {
	c, err := start(script, options...)
	if err == nil && use != nil {
		use(c)
	}
	must(0, tc.TerminateContainer(c, tc.StopTimeout(0)))
	must(0, err)
	_, err = docker().ContainerInspect(ctx, c.GetContainerID(), client.ContainerInspectOptions{})
	check(errdefs.IsNotFound(err), err)
}

func fails(says, script string, options ...option) {
	c, err := start(script, options...)
	must(0, tc.TerminateContainer(c, tc.StopTimeout(0)))
	check(err != nil && strings.Contains(err.Error(), says), "not ", says, ": ", err)
}

func docker() *tc.DockerClient { return must(tc.NewDockerClientWithOpts(ctx)) }

func logs() {
	waiting := wait.ForLog(`ready \d`).AsRegexp().WithOccurrence(2).WithPollInterval(20 * time.Millisecond)
	within("echo one; sleep 0.2; echo ready 1; echo ready 2; exec sleep 1000", func(c *tc.DockerContainer) {
		said := make([]byte, 20)
		n, _ := io.ReadFull(must(c.Logs(ctx)), said)
		check(string(said[:n]) == "one\nready 1\nready 2\n", string(said[:n]))
		labels := must(c.Inspect(ctx)).Config.Labels
		check(labels["org.testcontainers.sessionId"] == tc.SessionID(), labels)
	}, tc.WithWaitStrategy(waiting))
	fails("container exited with code 3", "echo no; exit 3", tc.WithWaitStrategy(wait.ForLog("yes")))
	fails("matched 0 times", "exec sleep 1000", tc.WithWaitStrategy(wait.ForLog("yes").WithStartupTimeout(500*time.Millisecond)))
}

func ports() {
	mapped := wait.ForAll(wait.ForMappedPort("8080/tcp"), wait.ForHTTP("/"))
	for _, waiting := range []wait.Strategy{wait.ForListeningPort("8080/tcp"), wait.ForExposedPort(), mapped} {
		within("sleep 0.2; "+serve, func(c *tc.DockerContainer) {
			answer := must(http.Get(must(c.PortEndpoint(ctx, "8080/tcp", "http")) + "/"))
			body := must(io.ReadAll(answer.Body))
			check(string(body) == "hello\n", string(body))
			check(must(c.Host(ctx)) == "127.0.0.1")
			check(strings.HasPrefix(must(c.ContainerIP(ctx)), "172."))
		}, tc.WithExposedPorts("8080/tcp"), tc.WithWaitStrategy(waiting))
	}
	fixed := tc.WithHostConfigModifier(func(config *container.HostConfig) {
		config.PortBindings = network.PortMap{network.MustParsePort("8080/tcp"): {{HostPort: "18082"}}}
	})
	within(serve, func(c *tc.DockerContainer) {
		check(must(c.MappedPort(ctx, "8080/tcp")).Num() == 18082, "not at its port")
		fails("port is already allocated", serve, fixed, tc.WithExposedPorts("8080/tcp"))
	}, fixed, tc.WithExposedPorts("8080/tcp"), tc.WithWaitStrategy(wait.ForListeningPort("8080/tcp")))
}

func pages() {
	hello := func(body io.Reader) bool { return string(must(io.ReadAll(body))) == "hello\n" }
	waiting := wait.ForHTTP("/").WithPort("8080/tcp").WithResponseMatcher(hello)
	within("sleep 0.2; "+serve, nil, tc.WithExposedPorts("8080/tcp"), tc.WithWaitStrategy(waiting))
}

func commands() {
	waiting := wait.ForExec([]string{"test", "-e", "/ready"})
	within("sleep 0.3; touch /ready; exec sleep 1000", func(c *tc.DockerContainer) {
		command := []string{"sh", "-c", "echo out $X in $PWD as $(id -u); exit 4"}
		code, said, err := c.Exec(ctx, command, exec.Multiplexed(), exec.WithEnv([]string{"X=1"}), exec.WithWorkingDir("/tmp"), exec.WithUser("www"))
		text := string(must(io.ReadAll(must(said, err))))
		check(code == 4 && text == "out 1 in /tmp as 33\n", code, text)
		code, _, err = c.Exec(ctx, []string{"/nosuch"})
		check(code == 127 && err == nil, code, err)
	}, tc.WithWaitStrategy(waiting))
}

func health() {
	check := func(test ...string) option {
		return tc.WithConfigModifier(func(config *container.Config) {
			config.Healthcheck = &container.HealthConfig{Test: test, Interval: 100 * time.Millisecond, Retries: 100}
		})
	}
	within("sleep 0.3; touch /ready; exec sleep 1000", nil, check("CMD", "test", "-e", "/ready"), tc.WithWaitStrategy(wait.ForHealthCheck()))
	once := tc.WithConfigModifier(func(config *container.Config) { config.Healthcheck.Retries = 1 })
	fails("deadline exceeded", "exec sleep 1000", check("CMD", "false"), once, tc.WithWaitStrategy(wait.ForHealthCheck().WithStartupTimeout(500*time.Millisecond)))
	within("true", nil, tc.WithWaitStrategy(wait.ForExit()))
	both := wait.ForAll(wait.ForFile("/ready"), wait.ForLog("ready"))
	within("sleep 0.2; touch /ready; echo ready; exec sleep 1000", nil, tc.WithWaitStrategy(both))
}

func files() {
	within("cat /in/text; df -m /scratch | tail -n 1; echo $X; hostname; echo ready; exec sleep 1000", func(c *tc.DockerContainer) {
		said := string(must(io.ReadAll(io.LimitReader(must(c.Logs(ctx)), 20))))
		check(strings.HasPrefix(said, "carried in\ntmpfs"), said)
		must(0, c.CopyToContainer(ctx, []byte("later"), "/in/later", 0o640))
		got := must(io.ReadAll(must(c.CopyFileFromContainer(ctx, "/in/later"))))
		check(string(got) == "later", string(got))
		_, err := c.CopyFileFromContainer(ctx, "/none")
		check(errdefs.IsNotFound(err), err)
		found := must(c.Inspect(ctx))
		check(found.Name == "/named" && found.HostConfig.Memory == 64<<20 && found.State.Running, found)
		must(0, c.Stop(ctx, new(time.Duration)))
		check(must(c.State(ctx)).ExitCode == 137, "it was killed")
		must(0, c.Start(ctx))
		check(must(c.State(ctx)).Running, "it was started again")
		fails("is already in use", "true", tc.WithName("named"))
	},
		tc.WithFiles(tc.ContainerFile{Reader: bytes.NewReader([]byte("carried in\n")), ContainerFilePath: "/in/text", FileMode: 0o600}),
		tc.WithTmpfs(map[string]string{"/scratch": "size=1m"}), tc.WithEnv(map[string]string{"X": "1"}),
		tc.WithMounts(tc.VolumeMount("kept-by-go", "/kept")), tc.WithName("named"),
		tc.WithHostConfigModifier(func(config *container.HostConfig) { config.Memory = 64 << 20 }),
		tc.WithWaitStrategy(wait.ForLog("ready")))
	must(docker().VolumeRemove(ctx, "kept-by-go", client.VolumeRemoveOptions{}))
}

func networks() {
	shared := must(own.New(ctx, own.WithInternal()))
	listening := wait.ForExec([]string{"wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"})
	within(serve, func(web *tc.DockerContainer) {
		within("exec sleep 1000", func(asks *tc.DockerContainer) {
			code, said, err := asks.Exec(ctx, []string{"wget", "-q", "-O", "-", "http://web:8080/"}, exec.Multiplexed())
			text := string(must(io.ReadAll(must(said, err))))
			check(code == 0 && text == "hello\n", code, text)
			check(must(asks.Networks(ctx))[0] == shared.Name, "it is elsewhere")
			check(must(web.NetworkAliases(ctx))[shared.Name][0] == "web", "it has no alias")
			err = shared.Remove(ctx)
			check(err != nil && strings.Contains(err.Error(), "has active endpoints"), err)
		}, own.WithNetwork(nil, shared))
	}, own.WithNetwork([]string{"web"}, shared), tc.WithWaitStrategy(listening))
	must(0, shared.Remove(ctx))
	_, err := docker().NetworkInspect(ctx, shared.ID, client.NetworkInspectOptions{})
	check(errdefs.IsNotFound(err), err)
}

func images() {
	_, err := tc.Run(ctx, "nosuch/image")
	check(err != nil && strings.Contains(err.Error(), "nosuch/image"), err)
	must(docker().ImageRemove(ctx, "busybox", client.ImageRemoveOptions{}))
	within("exec sleep 1000", nil)
	within("exec sleep 1000", nil, tc.WithAlwaysPull())
	again := []option{tc.WithReuseByName("again")}
	one, two := must(start("exec sleep 1000", again...)), must(start("exec sleep 1000", again...))
	check(one.GetContainerID() == two.GetContainerID(), "it is not reused")
	must(0, tc.TerminateContainer(one, tc.StopTimeout(0)))
}

func main() {
	defer cancel()
	if len(os.Args) > 1 {
		must(start("exec sleep 1000", own.WithNetwork(nil, must(own.New(ctx)))))
		must(start("exec sleep 1000", tc.WithMounts(tc.VolumeMount("reaped", "/data"))))
		must(start("true", tc.WithWaitStrategy(wait.ForExit())))
		fmt.Println("left")
		must(0, syscall.Kill(os.Getpid(), syscall.SIGKILL))
	}
	for i, run := range []func(){logs, ports, pages, commands, health, files, networks, images} {
		run()
		fmt.Println("case", i)
	}
}
