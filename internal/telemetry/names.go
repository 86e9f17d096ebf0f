package telemetry

// Metrics of all daemons.
var (
	Epoch       = gauge("leader_epoch", "Epoch of the latest leader that the daemon has heard of; 0: none.")
	Certificate = gauge("certificate_expires_seconds", "When the node's certificate ends, in seconds since 1970.")
	Attempts    = counter("attempts_total", "Attempts that were reported: committed, refused, or failed by the fault of object, task, attempt, store, run or job.", "outcome", "fault")
	InputBytes  = counter("input_bytes_total", "Bytes of objects that committed attempts have read.")
	RunSeconds  = counter("attempt_seconds_total", "Time that committed attempts took in their slots.", "kind")
)

// Metrics of coordinators. Those of a server that stands by are 0, but for Members.
var (
	Leads   = gauge("leads", "1 while this server leads the cluster.")
	Members = gauge("members", "Nodes of the cluster: works, draining, quarantined.", "state")
	Slots   = gauge("slots", "Slots of all nodes that work.")
	Jobs    = gauge("jobs", "Jobs that the leader knows: accepted, running, succeeded, failed, cancelled.", "state")
	Tasks   = gauge("tasks", "Tasks of running jobs: done, left.", "kind", "state")
	Waiting = gauge("tasks_waiting", "Tasks that wait for a slot.")
	Leases  = gauge("leases", "Slots that have a task.")
	Listed  = gauge("objects_listed", "Objects in the plans of running jobs.")
	Mapped  = gauge("objects_mapped", "Objects of running jobs that were mapped.")
	Failed  = gauge("objects_failed", "Objects of running jobs that could not be mapped.")
)

// Metrics of agents.
var (
	NodeSlots = gauge("node_slots", "Slots of the node.")
	Running   = gauge("attempts_running", "Attempts under way: slots with a runner at work.")
	NodeJobs  = gauge("node_jobs", "Jobs that the node works for.")
	Runs      = gauge("runs_kept", "Sealed runs that reducers may still fetch.")
	Alone     = gauge("alone", "1 while the node hears of no leader.")
)
