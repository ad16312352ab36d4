package client

import "slices"

// Client is an OAuth client. It isn't modified once it has been returned.
type Client struct {
	// ID is the client_id.
	ID string
	// Host is the host that the client's document was fetched from. It is what people are shown
	// first, as the only thing that is proven.
	Host     string
	Metadata *Metadata
	// Trusted is true if the operator vouches for the client.
	Trusted bool
	// Local is true if the client is a development client, http://localhost. Every program on the
	// person's own machine can be that.
	Local bool
}

// Confidential reports whether the client authenticates with a key of its own.
func (c *Client) Confidential() bool { return c.Metadata.AuthMethod == methodKey }

// Name is the name that the client is shown by: the one that it gives itself if the operator
// vouches for it, and otherwise its host.
func (c *Client) Name() string {
	if c.Trusted && c.Metadata.ClientName != "" {
		return c.Metadata.ClientName
	}
	return c.Host
}

// Undeclared returns those of some scope tokens that the client hasn't declared, and may not ask
// for.
func (c *Client) Undeclared(tokens []string) []string {
	declared := make(map[string]bool, len(c.Metadata.Scope)) // either may have thousands
	for _, token := range c.Metadata.Scope {
		declared[token] = true
	}
	var missing []string
	for _, token := range tokens {
		if !declared[token] {
			missing = append(missing, token)
		}
	}
	return missing
}

// Refreshes reports whether the client has declared that it refreshes tokens.
func (c *Client) Refreshes() bool { return slices.Contains(c.Metadata.GrantTypes, grantRefresh) }
