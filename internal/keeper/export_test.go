package keeper

import "time"

// Hurry shortens what a keeper waits for between looks, and after a failure.
func (k *Keeper) Hurry(d time.Duration) { k.again, k.idle = d, 2*d }

// Remembered counts what a keeper knows of tasks and audits.
func (k *Keeper) Remembered() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.working) + len(k.tried) + len(k.partial)
}
