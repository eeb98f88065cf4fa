module gannet.invalid/grpcui

go 1.21

require github.com/fullstorydev/grpcui v1.4.3
