// SPDX-License-Identifier: MIT

// Goroutines on small stacks that grow, while the collector and the profiler are at work.
//
// usage: gopher [-n CALLS] [-g GOROUTINES] [-s MILLISECONDS] [-w MILLISECONDS]
//
//	-n  calls of work() per goroutine (default 1000); each is one of deep() and one of large() as well
//	-s  sleep so long before they begin, and say so
//	-w  go on for so long, in rounds
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

//go:noinline
func work(n int, word string) int {
	if n%7 == 0 {
		word += "!"
	}
	return n*3 + len(word) + deep(n%40, n)
}

// A call of it may find the stack too small, at any depth.
//
//go:noinline
func deep(depth, n int) int {
	var room [64]int
	room[n&63] = n
	if depth > 0 {
		return down(depth-1, n+1) + room[(n+1)&63]
	}
	return large(n)
}

//go:noinline
func down(depth, n int) int {
	var room [40]int
	room[n%40] = depth
	if depth > 0 {
		return down(depth-1, n+1) + room[(n+1)%40]
	}
	return large(n)
}

// A frame for which the question is put in another form.
//
//go:noinline
func large(n int) int {
	var room [300]int
	for i := range room {
		room[i] = n + i
	}
	return room[n%300] & 0xff
}

func rounds(calls int, sum *int64) {
	var garbage [][]byte
	local := 0
	for i := 0; i < calls; i++ {
		local += work(i, "word")
		if i%50 == 0 {
			garbage = append(garbage, make([]byte, 2000))
			if len(garbage) > 20 {
				garbage = nil
			}
		}
	}
	atomic.AddInt64(sum, int64(local))
}

func main() {
	calls := flag.Int("n", 1000, "")
	goroutines := flag.Int("g", 50, "")
	sleep := flag.Int("s", 0, "")
	more := flag.Int("w", 0, "")
	flag.Parse()
	var profile bytes.Buffer
	pprof.StartCPUProfile(&profile)
	if *sleep > 0 {
		fmt.Println("ready")
		time.Sleep(time.Duration(*sleep) * time.Millisecond)
	}
	var sum int64
	total := 0
	end := time.Now().Add(time.Duration(*more) * time.Millisecond)
	for first := true; first || time.Now().Before(end); first = false {
		var all sync.WaitGroup
		for i := 0; i < *goroutines; i++ {
			all.Add(1)
			go func() {
				defer all.Done()
				rounds(*calls, &sum)
			}()
		}
		runtime.GC()
		all.Wait()
		total += *calls * *goroutines
	}
	pprof.StopCPUProfile()
	one := int64(0)
	rounds(*calls, &one)
	total += *calls
	if one*int64(total / *calls) != sum+one {
		fmt.Fprintln(os.Stderr, "wrong")
		os.Exit(1)
	}
	fmt.Println("calls", total)
}
