package postgres_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-at/gatehouse/internal/pgcluster"
	"github.com/gatehouse-at/gatehouse/storage/storagetest"
)

func TestContractBehindPgbouncer(t *testing.T) {
	server := pgcluster.Start(t, "fsync=off")
	addr := pgcluster.StartPgbouncer(t, server)
	for _, mode := range []string{"cache_describe", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			storagetest.Run(t, backend(func(t *testing.T) string {
				direct := pgcluster.WithSchema(t, server.URL())
				return strings.Replace(direct, server.Addr(), addr, 1) + "&default_query_exec_mode=" + mode
			}))
		})
	}
}
