package scope_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/gatehouse-at/gatehouse/oauth/scope"
	"github.com/gatehouse-at/gatehouse/storage/memory"
)

// published is a resolver that finds one permission set.
type published struct{}

func (published) Resolve(context.Context, syntax.NSID) (json.RawMessage, error) {
	return json.RawMessage(`{"lexicon": 1, "id": "app.example.authPosts", "defs": {"main": {
		"type": "permission-set", "title": "Posts", "permissions": [
			{"type": "permission", "resource": "repo", "collection": ["app.example.post"]}
	]}}}`), nil
}

// A requested scope becomes what a session may do, and what a person is asked.
func ExampleSets_Expand() {
	ctx := context.Background()
	store := memory.New()
	defer store.Close()
	sets, err := scope.NewSets(ctx, store, scope.SetsConfig{Resolver: published{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	asked, err := scope.Parse("atproto identity:* include:app.example.authPosts future:thing")
	if err != nil {
		fmt.Println(err)
		return
	}
	asked = asked.Known()
	resolved, err := sets.Resolve(ctx, asked)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, item := range scope.Describe(asked, resolved) {
		fmt.Println(item.Kind, item.Risk == scope.Dangerous)
	}
	// The owner of the account unticks the dangerous one.
	granted := asked.Keep(scope.Set{"include:app.example.authPosts"})
	fmt.Println(sets.Expand(ctx, granted))
	// Output:
	// sign-in false
	// set false
	// identity true
	// atproto repo:app.example.post <nil>
}
