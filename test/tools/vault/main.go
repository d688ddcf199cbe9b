// SPDX-License-Identifier: Apache-2.0

// Command vault serves HashiCorp Vault's own core and HTTP API from memory, with the few plugins
// that the tests need. It starts uninitialised and sealed, as a fresh server does: callers use
// /v1/sys/init and /v1/sys/unseal. Nothing is kept once it ends.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	log "github.com/hashicorp/go-hclog"
	jwtauth "github.com/hashicorp/vault-plugin-auth-jwt"
	kubeauth "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/cert"
	"github.com/hashicorp/vault/builtin/logical/database"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/plugins/database/postgresql"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

// factory makes a plugin that the catalog hands out by name; nil for those that the core builds
// from its backend tables.
type factory = func() (interface{}, error)

// registry is the plugin catalog: without one the core panics at the first mount.
type registry map[consts.PluginType]map[string]factory

var builtins = registry{
	consts.PluginTypeDatabase:   {"postgresql-database-plugin": postgresql.New},
	consts.PluginTypeSecrets:    {"kv": nil, "database": nil},
	consts.PluginTypeCredential: {"kubernetes": nil, "jwt": nil, "approle": nil, "cert": nil},
}

func (r registry) Contains(name string, kind consts.PluginType) bool {
	_, ok := r[kind][name]
	return ok
}

func (r registry) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	make, ok := r[kind][name]
	return make, ok
}

func (r registry) Keys(kind consts.PluginType) []string {
	var names []string
	for name := range r[kind] {
		names = append(names, name)
	}
	return names
}

func (r registry) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, true
}

func (r registry) IsBuiltinEntPlugin(string, consts.PluginType) bool {
	return false
}

func newCore(logger log.Logger) (*vault.Core, error) {
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	return vault.NewCore(&vault.CoreConfig{
		Physical:        storage,
		Logger:          logger,
		DisableMlock:    true,
		BuiltinRegistry: builtins,
		LogicalBackends: map[string]logical.Factory{
			"kv":       kv.Factory,
			"database": database.Factory,
		},
		CredentialBackends: map[string]logical.Factory{
			"kubernetes": kubeauth.Factory,
			"jwt":        jwtauth.Factory,
			"approle":    approle.Factory,
			"cert":       cert.Factory,
		},
	})
}

// serve answers on addr until the process is told to end; TLS if both files are named.
func serve(core *vault.Core, addr, certFile, keyFile string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core}),
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ended
		_ = server.Close()
	}()

	// The port may have been 0: say which one it became.
	scheme := "http"
	if certFile != "" {
		scheme = "https"
	}
	fmt.Printf("listening on %s://%s\n", scheme, listener.Addr())
	if certFile != "" {
		err = server.ServeTLS(listener, certFile, keyFile)
	} else {
		err = server.Serve(listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:8200", "`address` to listen on; port 0 takes a free one")
	certFile := flag.String("tls-cert", "", "PEM `file` with the certificate chain: serve HTTPS")
	keyFile := flag.String("tls-key", "", "PEM `file` with its key")
	level := flag.String("log-level", "info", "trace, debug, info, warn or error")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if (*certFile == "") != (*keyFile == "") {
		return errors.New("-tls-cert and -tls-key go together")
	}

	logger := log.New(&log.LoggerOptions{Level: log.LevelFromString(*level), Output: os.Stderr})
	core, err := newCore(logger)
	if err != nil {
		return err
	}
	defer core.Shutdown() //nolint:errcheck // the storage goes with the process
	return serve(core, *listen, *certFile, *keyFile)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}
