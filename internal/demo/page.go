package demo

// Page is the story as a page that stands alone.
func (s *Story) Page() string { return "" }
