package main

import (
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"
)

// recording collects events; the operation that a process has under way is the one that its next return ends.
type recording struct {
	events   []porcupine.Event
	underWay map[int]int
	calls    int
}

func newRecording() *recording { return &recording{underWay: make(map[int]int)} }

func (r *recording) call(process int, input any) {
	r.underWay[process] = r.calls
	r.events = append(r.events, porcupine.Event{ClientId: process, Kind: porcupine.CallEvent, Value: input, Id: r.calls})
	r.calls++
}

func (r *recording) ret(process int, output any) {
	if id, called := r.underWay[process]; called {
		delete(r.underWay, process)
		r.events = append(r.events, porcupine.Event{ClientId: process, Kind: porcupine.ReturnEvent, Value: output, Id: id})
	}
}

// finish lets what never returned return at the end.
func (r *recording) finish(output any) []porcupine.Event {
	var processes []int
	for process := range r.underWay {
		processes = append(processes, process)
	}
	sort.Ints(processes)
	for _, process := range processes {
		r.ret(process, output)
	}
	return r.events
}

func lines(path string) ([]string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(content), "\n"), "\n"), nil
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		return none
	}
	return value
}

func readEtcd(path string) ([]porcupine.Event, error) {
	all, err := lines(path)
	if err != nil {
		return nil, err
	}
	history := newRecording()
	for _, line := range all {
		words := strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(line))
		if len(words) < 6 || words[0] != "INFO" || words[1] != "jepsen.util" {
			continue
		}
		process, err := strconv.Atoi(words[3])
		if err != nil {
			continue
		}
		kind, f, values := words[4], strings.TrimPrefix(words[5], ":"), words[6:]
		switch {
		case kind == ":invoke" && f == "cas":
			history.call(process, registerInput{f: f, value: number(values[0]), newValue: number(values[1])})
		case kind == ":invoke" && f == "write":
			history.call(process, registerInput{f: f, value: number(values[0])})
		case kind == ":invoke":
			history.call(process, registerInput{f: f})
		case kind == ":ok" && f == "read":
			history.ret(process, registerOutput{value: number(values[0])})
		case kind == ":fail" && f == "read":
			// It changed nothing whenever it was: it may as well end here.
			history.ret(process, registerOutput{isUnknown: true})
		case kind == ":ok", kind == ":fail" && f == "cas" && values[0] != ":timed-out":
			history.ret(process, registerOutput{done: kind == ":ok"})
		}
	}
	return history.finish(registerOutput{isUnknown: true}), nil
}

var kvLine = regexp.MustCompile(`^\{:process (\d+), :type :(invoke|ok), :f :(get|put|append), :key "(.*)", :value (nil|".*")\}$`)

func readKv(path string) ([]porcupine.Event, error) {
	all, err := lines(path)
	if err != nil {
		return nil, err
	}
	history := newRecording()
	for at, line := range all {
		words := kvLine.FindStringSubmatch(line)
		if words == nil {
			return nil, fmt.Errorf("%s: line %d is of an unknown form", path, at+1)
		}
		value := strings.Trim(words[5], `"`)
		if words[2] == "invoke" {
			history.call(number(words[1]), textInput{f: words[3], key: words[4], value: value})
		} else {
			history.ret(number(words[1]), value)
		}
	}
	return history.finish(""), nil
}
