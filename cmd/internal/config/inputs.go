package config

import (
	"fmt"
	"maps"
	"slices"
)

// Input is a file that the gateway reads, and the key that names it.
type Input struct {
	Key  string // as in gateway.key
	Path string
}

// Inputs are all files that the gateway reads, the configuration itself first
// and without a key. Nothing may write into them.
func (c *Config) Inputs() []Input {
	list := []Input{{"", c.File}, {"roster.file", c.Roster.File}, {"gateway.key", c.Gateway.Key.Path()}}
	for i, t := range c.Terminals {
		if t.ZK != nil {
			list = append(list, Input{fmt.Sprintf("terminals[%d].comm_key", i), t.ZK.CommKey.Path()})
		}
	}
	if p := c.Phones; p != nil && p.Embedded != nil {
		for _, user := range slices.Sorted(maps.Keys(p.Embedded.Users)) {
			list = append(list, Input{"phones.broker.embedded.users." + user, p.Embedded.Users[user].Path()})
		}
		list = append(list, p.Embedded.TLS.inputs("phones.broker.embedded.tls")...)
	}
	if p := c.Phones; p != nil && p.External != nil {
		list = append(list, Input{"phones.broker.password", p.External.Password.Path()}, Input{"phones.broker.ca", p.External.CA})
	}
	for i, s := range c.Sinks {
		if e := s.CloudEvents; e != nil {
			path := fmt.Sprintf("sinks[%d]", i)
			list = append(list, Input{path + ".secret", e.Secret.Path()}, Input{path + ".ca", e.CA})
			list = append(list, e.Client.inputs(path)...)
		}
	}
	return slices.DeleteFunc(list, func(in Input) bool { return in.Path == "" })
}

func (t *TLS) inputs(path string) []Input {
	if t == nil {
		return nil
	}
	return []Input{{path + ".cert", t.Cert}, {path + ".key", t.Key.Path()}}
}
