package keeper

import "time"

// Hurry shortens what a task waits for after a failure.
func (k *Keeper) Hurry(d time.Duration) { k.again = d }

// Remembered counts what a keeper knows of tasks and audits.
func (k *Keeper) Remembered() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.working) + len(k.tried) + len(k.partial)
}
