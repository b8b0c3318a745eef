package main

import (
	"hash/maphash"
	"maps"

	"github.com/anishathalye/porcupine"
)

// A register of small numbers; none at first.
type registerInput struct {
	f        string // read, write, cas
	value    int    // written, or expected by cas
	newValue int    // set by cas
}

type registerOutput struct {
	isUnknown bool
	done      bool // cas: whether it was set
	value     int  // read: none is -1
}

const none = -1

var register = porcupine.Model{
	Init: func() any { return none },
	Step: func(state, input, output any) (bool, any) {
		value, in, out := state.(int), input.(registerInput), output.(registerOutput)
		switch in.f {
		case "read":
			return out.isUnknown || out.value == value, value
		case "write":
			return true, in.value
		default:
			if in.value == value {
				return out.isUnknown || out.done, in.newValue
			}
			return out.isUnknown || !out.done, value
		}
	},
}

// Texts under keys, empty at first.
type textInput struct {
	f     string // get, put, append
	key   string
	value string
}

func after(text string, in textInput, got any) (bool, string) {
	switch in.f {
	case "get":
		return got.(string) == text, text
	case "put":
		return true, in.value
	default:
		return true, text + in.value
	}
}

var seed = maphash.MakeSeed()

// Each key on its own.
var perKey = porcupine.Model{
	PartitionEvent: func(history []porcupine.Event) [][]porcupine.Event {
		place := make(map[string]int)
		keyOf := make(map[int]string)
		var parts [][]porcupine.Event
		for _, event := range history {
			if event.Kind == porcupine.CallEvent {
				keyOf[event.Id] = event.Value.(textInput).key
			}
			key := keyOf[event.Id]
			at, known := place[key]
			if !known {
				at = len(parts)
				place[key] = at
				parts = append(parts, nil)
			}
			parts[at] = append(parts[at], event)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		possible, text := after(state.(string), input.(textInput), output)
		return possible, text
	},
	Hash: func(state any) uint64 { return maphash.String(seed, state.(string)) },
}

// All keys as one object.
var together = porcupine.Model{
	Init: func() any { return map[string]string{} },
	Step: func(state, input, output any) (bool, any) {
		texts, in := state.(map[string]string), input.(textInput)
		possible, text := after(texts[in.key], in, output)
		if !possible || in.f == "get" {
			return possible, state
		}
		changed := maps.Clone(texts)
		changed[in.key] = text
		return true, changed
	},
	Equal: func(one, other any) bool { return maps.Equal(one.(map[string]string), other.(map[string]string)) },
	Hash: func(state any) uint64 {
		sum := uint64(0)
		for key, text := range state.(map[string]string) {
			sum ^= maphash.String(seed, key+"\x00"+text)
		}
		return sum
	},
}
